import type { TranscriptionRequest, TranscriptionResponse } from '../../canonical/transcription.ts'
import { isFields, text } from '../json.ts'
import { NO_STREAM, type OwnHearing, ownHearing, speakerOf } from '../own-hearing.ts'
import type { Adapter, Provider } from '../provider.ts'

/** Whisper and Wizper of fal.ai (https://fal.ai/models/fal-ai/whisper/api), asked where they answer at once. */
export function falHearing(
  readError: Provider['decodeError'],
): Readonly<Record<'transcription' | 'translation', Adapter<TranscriptionRequest, TranscriptionResponse, never>>> {
  const heard = ownHearing(HEARING, readError)
  const translated: typeof heard = {
    ...heard,
    mode: 'translation',
    encodeRequest: (request, target) => heard.encodeRequest({ ...request, task: 'translate' }, target),
  }
  return { transcription: heard, translation: translated }
}

const HEARING: OwnHearing = {
  rules: { unsupported: [...NO_STREAM, 'temperature'] },
  encode({ file, speakers, rest }, target) {
    const bytes = Buffer.from(file.bytes.buffer, file.bytes.byteOffset, file.bytes.byteLength)
    const url = `data:${file.type};base64,${bytes.toString('base64')}`
    const body = { audio_url: url, ...(speakers ? { diarize: true } : {}), ...rest }
    return {
      method: 'POST',
      url: `${target.base.replace('//queue.fal.run', '//fal.run')}/${target.model.split('/').map(encodeURIComponent).join('/')}`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }
  },
  read(answer) {
    if (typeof answer['text'] !== 'string') return null
    const chunks = Array.isArray(answer['chunks']) ? (answer['chunks'] as unknown[]).filter(isFields) : []
    const segments = chunks.flatMap(({ timestamp, text: said, speaker }) => {
      const [start, end] = Array.isArray(timestamp) ? (timestamp as unknown[]) : []
      // The last piece has no end where the sound has none.
      if (typeof start !== 'number') return []
      return [{ start, end: typeof end === 'number' ? end : start, text: text(said), ...speakerOf(speaker) }]
    })
    const languages = answer['inferred_languages'] ?? answer['languages']
    const [language] = Array.isArray(languages) ? (languages as unknown[]) : []
    return {
      text: answer['text'],
      ...(typeof language === 'string' ? { language } : {}),
      ...(segments.length === 0 ? {} : { segments }),
    }
  },
}
