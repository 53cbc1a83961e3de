import { NO_TOKENS, type TokenUsage } from '../../../proto/usage.ts'
import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { SpeechRequest, SpeechResponse } from '../../canonical/speech.ts'
import { type Fields, isFields, jsonObject, sourceOf } from '../json.ts'
import type { Adapter, DecodeContext, Forwarded, Headers } from '../provider.ts'
import { pcmLength, soundLength } from '../sound-length.ts'
import { forwardedEvents } from './forwarded-events.ts'
import { billedUnits, mediaTokens, withUnits } from './media-usage.ts'
import type { RequestEncoder } from './request.ts'
import type { ErrorReader } from './response.ts'

const TYPES: Readonly<Record<string, string>> = {
  mp3: 'audio/mpeg',
  opus: 'audio/opus',
  aac: 'audio/aac',
  flac: 'audio/flac',
  wav: 'audio/wav',
  pcm: 'audio/pcm',
}
/** Content types that say nothing of the sound. */
const ANY_BYTES = /octet-stream|^$/
/** Where the length of a sound can be read, in its first bytes. */
const HEAD = 4096
/** $12 a million tokens are $0.015 a minute (https://platform.openai.com/docs/pricing). */
const TOKENS_PER_SECOND = 1250 / 60
/** Models billed by the token; they say how many only in events. */
const BY_TOKEN = /^(?:.*\/)?gpt-.*tts/

/** Text to speech of OpenAI's protocol: the answer is the sound, or events, or JSON around it. */
export function speechAdapter(encoder: RequestEncoder, readError: ErrorReader): Adapter<SpeechRequest, SpeechResponse, never> {
  return {
    mode: 'speech',
    encodeRequest: (request, target) => encoder.encode(request, target),
    decodeResponse: (body, headers, context) => decodeSpeech(body, headers, context, readError),
    forward: (headers, context) => forwardSpeech(headers, context, readError),
  }
}

/** The sound where somebody wants it whole; of providers that answer with JSON, what they keep the base64 in. */
function decodeSpeech(body: Uint8Array, headers: Headers, context: DecodeContext, readError: ErrorReader): SpeechResponse {
  const bytes = forwardSpeech(headers, context, readError)
  if (bytes !== null) {
    bytes.see?.(body)
    bytes.end?.()
    return { audio: body, contentType: bytes.contentType, billing: bytes.usage() }
  }
  const source = sourceOf(body)
  const answer = jsonObject(source, 'The answer')
  const audio = [answer['audio_data'], answer['audio'], answer['audio_content']].find((value) => typeof value === 'string')
  if (audio === undefined) {
    if (answer['error'] !== undefined && answer['error'] !== null) throw readError(200, headers, source)
    throw new GatewayError('provider_malformed', 'The answer holds no sound.')
  }
  const tokens = mediaTokens(answer['usage'], 'audio_tokens')
  const units = spokenUnits(context.request)
  return {
    audio: Buffer.from((audio as string).replace(/^data:[^,]*,/, ''), 'base64'),
    contentType: entryOf(TYPES, formatOf(context.request)) ?? 'audio/mpeg',
    billing: tokens === null ? billedUnits(units) : withUnits(tokens, units),
  }
}

function forwardSpeech(headers: Headers, context: DecodeContext, readError: ErrorReader): Forwarded | null {
  const type = headers['content-type'] ?? ''
  if (type.includes('json')) return null
  const { request, model } = context
  const units = spokenUnits(request)
  if (type.includes('event-stream')) {
    return forwardedEvents(headers, {
      last: ['speech.audio.done'],
      readError,
      billed: ({ usage }) => {
        const tokens = mediaTokens(usage, 'audio_tokens')
        return tokens === null ? null : withUnits(tokens, units)
      },
      otherwise: () => billedUnits(units),
    })
  }
  const format = formatOf(request)
  const head: Uint8Array[] = []
  let kept = 0
  let whole = 0
  return {
    contentType: ANY_BYTES.test(type) ? (entryOf(TYPES, format) ?? 'audio/mpeg') : type,
    see(bytes) {
      whole += bytes.length
      if (kept >= HEAD) return
      head.push(new Uint8Array(bytes.subarray(0, HEAD - kept)))
      kept += head.at(-1)?.length ?? 0
    },
    usage() {
      if (!BY_TOKEN.test(model)) return billedUnits(units)
      const length = format === 'pcm' ? pcmLength(whole) : soundLength(Buffer.concat(head), whole).milliseconds
      return tokensOfSound(length, units)
    },
  }
}

/** Nobody counted: the sound by its length, the text by whoever books it. */
function tokensOfSound(milliseconds: number, units: Record<string, number>): TokenUsage {
  const output = Math.round((milliseconds * TOKENS_PER_SECOND) / 1000)
  return { ...NO_TOKENS, output, audioOutput: output, units, estimated: true }
}

/** Characters as people count them: code points. */
function spokenUnits({ input }: Readonly<Fields>): Record<string, number> {
  return { character_in: typeof input === 'string' ? [...input].length : 0 }
}

function formatOf(request: Readonly<Fields>): string {
  const format = request['response_format']
  return typeof format === 'string' ? format : isFields(format) && typeof format['codec'] === 'string' ? format['codec'] : 'mp3'
}
