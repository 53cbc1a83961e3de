import { GatewayError } from '../../../shared/errors.ts'
import type { TranscriptionRequest, TranscriptionResponse } from '../../canonical/transcription.ts'
import { isFields, text } from '../json.ts'
import { billedUnits } from '../openai/media-usage.ts'
import { soundFormat } from '../own-fields.ts'
import { type Heard, NO_STREAM, type OwnHearing, ownHearing, wordsOf } from '../own-hearing.ts'
import { charactersOf, type OwnSpeech, ownSpeech } from '../own-speech.ts'
import type { Adapter, Provider, Target } from '../provider.ts'

/** Sounds of Workers AI, by the route of the models themselves (https://developers.cloudflare.com/workers-ai/models/). */
export function cloudflareSounds(readError: Provider['decodeError']): Pick<Provider, 'speech' | 'transcription' | 'translation'> {
  const heard = ownHearing(HEARING, readError)
  return { speech: ownSpeech(SPEECH, readError), transcription: heard, translation: translating(heard) }
}

/** Takes JSON; the first Whisper takes bare bytes. */
const NEWER = /whisper-large/

const HEARING: OwnHearing = {
  rules: { unsupported: [...NO_STREAM, 'temperature'], rename: { prompt: 'initial_prompt' } },
  encode({ file, rest }, target) {
    const url = runUrl(target)
    if (!NEWER.test(target.model))
      return { method: 'POST', url, headers: { 'content-type': 'application/octet-stream' }, body: file.bytes }
    const audio = Buffer.from(file.bytes.buffer, file.bytes.byteOffset, file.bytes.byteLength).toString('base64')
    return { method: 'POST', url, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ audio, ...rest }) }
  },
  read(answer): Heard | null {
    const result = isFields(answer['result']) ? answer['result'] : answer
    if (typeof result['text'] !== 'string') return null
    const info = isFields(result['transcription_info']) ? result['transcription_info'] : {}
    const segments = Array.isArray(result['segments']) ? (result['segments'] as unknown[]).filter(isFields) : []
    const words = [...segments, result].flatMap(({ words: list }) => wordsOf(list, (word) => text(word['word']).trim()))
    const timed = segments.flatMap(({ start, end, text: said }) =>
      typeof start === 'number' && typeof end === 'number' ? [{ start, end, text: text(said) }] : [],
    )
    return {
      text: result['text'],
      ...(typeof info['language'] === 'string' ? { language: info['language'] } : {}),
      ...(typeof info['duration'] === 'number' ? { duration: info['duration'] } : {}),
      ...(words.length === 0 ? {} : { words }),
      ...(timed.length === 0 ? {} : { segments: timed }),
    }
  },
}

type Hearing = Adapter<TranscriptionRequest, TranscriptionResponse, never>

/** The larger Whisper is told to translate; the other cannot be. */
function translating(heard: Hearing): Hearing {
  return {
    ...heard,
    mode: 'translation',
    encodeRequest(request, target) {
      if (NEWER.test(target.model)) return heard.encodeRequest({ ...request, task: 'translate' }, target)
      throw new GatewayError('unsupported_endpoint', `${target.model} of Cloudflare does not translate.`, { param: 'model' })
    },
  }
}

/** Deepgram's voices as Cloudflare runs them answer with bytes, MeloTTS with base64 of an MP3. */
const AURA = /aura/
const FORMATS: Readonly<Record<string, Record<string, unknown>>> = {
  mp3: { encoding: 'mp3' },
  opus: { encoding: 'opus', container: 'ogg' },
  aac: { encoding: 'aac' },
  flac: { encoding: 'flac' },
  wav: { encoding: 'linear16', container: 'wav' },
  pcm: { encoding: 'linear16', container: 'none' },
}
const MELO = { mp3: {} }
/** OpenAI's voices, none of which Aura has: its own one stands for them. */
const OPENAI_VOICE = /^(?:alloy|ash|ballad|coral|echo|fable|nova|onyx|sage|shimmer|verse|marin|cedar)$/

const SPEECH: OwnSpeech = {
  rules: { unsupported: ['instructions', 'stream_format', 'speed'] },
  encode({ input, rest }, request, target) {
    const { voice } = request
    const named = typeof voice === 'string' && voice !== '' && !OPENAI_VOICE.test(voice) ? voice : undefined
    const aura = AURA.test(target.model)
    const format = soundFormat(aura ? FORMATS : MELO, request, target) ?? {}
    // MeloTTS has one voice a language.
    const said = aura
      ? { text: input, ...(named === undefined ? {} : { speaker: named }) }
      : { prompt: input, ...(named === undefined ? {} : { lang: named }) }
    const headers = { 'content-type': 'application/json' }
    return { method: 'POST', url: runUrl(target), headers, body: JSON.stringify({ ...said, ...format, ...rest }) }
  },
  read(answer, context) {
    const result = isFields(answer['result']) ? answer['result'] : answer
    const { audio } = result
    if (typeof audio !== 'string') return null
    return { audio: Buffer.from(audio, 'base64'), contentType: 'audio/mpeg', billing: billedUnits(charactersOf(context)) }
  },
}

/** Models begin with `@cf/` and stand in the path as they are. */
function runUrl({ base, model }: Target): string {
  return `${base.replace(/\/(?:run|v1)$/, '')}/run/${model.split('/').map(encodeURIComponent).join('/').replaceAll('%40', '@')}`
}
