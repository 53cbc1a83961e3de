import { GatewayError } from '../../../shared/errors.ts'
import type { SpeechResponse } from '../../canonical/speech.ts'
import { tokensOf } from '../../canonical/usage.ts'
import { isFields, text } from '../json.ts'
import { soundFormat, voiceOf } from '../own-fields.ts'
import { charactersOf, type OwnSpeech, wavOf } from '../own-speech.ts'
import type { Target } from '../provider.ts'
import { pcmLength } from '../sound-length.ts'
import { blockReason } from './answer.ts'
import { decodeUsage } from './usage.ts'
import { type Fields, objects } from './wire.ts'

/** Samples a second where the answer does not say. */
const RATE = 24_000
const FORMATS: Readonly<Record<string, 'wav' | 'pcm'>> = { wav: 'wav', pcm: 'pcm' }
/** Prebuilt voices for who asks for one of OpenAI's that Gemini has not; any other name is a voice's. */
const VOICES: Readonly<Record<string, string>> = {
  alloy: 'Kore',
  ash: 'Orus',
  ballad: 'Umbriel',
  coral: 'Aoede',
  echo: 'Puck',
  fable: 'Charon',
  nova: 'Leda',
  onyx: 'Fenrir',
  sage: 'Callirrhoe',
  shimmer: 'Zephyr',
  verse: 'Iapetus',
}

/**
 * Gemini's speech models: a chat whose answer is sound, raw samples in base64. They go out as such or under a WAV header, which is what they are
 * also where the client names no format: nothing here makes MP3. `urlOf`: where the model is asked.
 */
export function geminiSpeech(urlOf: (target: Target) => string): OwnSpeech {
  return {
    rules: { unsupported: ['stream_format', 'speed'] },
    encode({ input, rest }, request, target) {
      soundFormat(FORMATS, request, target)
      const { instructions, speech_config: given, speechConfig = given, ...fields } = rest
      const voiceName = voiceOf(request, VOICES) ?? 'Kore'
      const said = text(instructions) === '' ? input : `${text(instructions)}\n\n${input}`
      const body = {
        contents: [{ role: 'user', parts: [{ text: said }] }],
        generationConfig: {
          responseModalities: ['AUDIO'],
          speechConfig: isFields(speechConfig) ? speechConfig : { voiceConfig: { prebuiltVoiceConfig: { voiceName } } },
          ...fields,
        },
      }
      return { method: 'POST', url: urlOf(target), headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    },
    read(answer, context) {
      const sound = soundIn(answer)
      if (sound === null) {
        const blocked = blockReason(answer) || refusalIn(answer)
        if (blocked === '') return null
        throw new GatewayError('content_policy', `the model would not say this: ${blocked}`)
      }
      const { samples, rate } = sound
      const asked = context.request['response_format']
      const usage = isFields(answer['usageMetadata']) ? tokensOf(decodeUsage(answer['usageMetadata'])) : null
      // Whatever they are not told to be, the tokens of such an answer are sound.
      const tokens = usage === null || usage.audioOutput > 0 ? usage : { ...usage, audioOutput: usage.output - usage.reasoning }
      const units = { ...charactersOf(context), audio_ms_out: Math.round((pcmLength(samples.length) * RATE) / rate) }
      return {
        audio: asked === 'pcm' ? samples : wavOf(samples, rate),
        contentType: asked === 'pcm' ? 'audio/pcm' : 'audio/wav',
        ...(tokens === null ? {} : { billing: { ...tokens, units: { ...units, ...tokens.units } } }),
      } satisfies SpeechResponse
    },
  }
}

/** Why there is no sound, where that is a verdict over what was to be said. */
function refusalIn(answer: Fields): string {
  const reason = text(objects(answer['candidates'])[0]?.['finishReason'])
  return reason === '' || reason === 'STOP' || reason === 'OTHER' ? '' : reason
}

/** All the parts of the first candidate together. */
function soundIn(answer: Fields): { samples: Uint8Array; rate: number } | null {
  const [candidate] = objects(answer['candidates'])
  const content = candidate?.['content']
  const parts = isFields(content) ? objects(content['parts']) : []
  const data = parts.map((part) => part['inlineData'] ?? part['inline_data']).filter(isFields)
  if (data.length === 0) return null
  const told = /rate=(\d+)/.exec(text(data[0]?.['mimeType'] ?? data[0]?.['mime_type']))?.[1]
  const samples = Buffer.concat(data.map((part) => Buffer.from(text(part['data']), 'base64')))
  return { samples, rate: told === undefined ? RATE : Number(told) }
}
