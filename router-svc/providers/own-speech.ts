import type { MediaRules } from '../../shared/catalog/media.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { SpeechRequest, SpeechResponse } from '../canonical/speech.ts'
import { type Fields, jsonObject, sourceOf } from './json.ts'
import { billedUnits } from './openai/media-usage.ts'
import { ownFields } from './own-fields.ts'
import type { Adapter, DecodeContext, Headers, Provider, Target, UpstreamRequest } from './provider.ts'

/** What is read aloud, as services in words of their own take it. */
export interface Spoken {
  input: string
  /** Parameters that are left, under the service's names. */
  rest: Fields
}

/** How a service in words of its own speaks. */
export interface OwnSpeech {
  rules?: MediaRules
  /** Throws GatewayError. */
  encode(spoken: Spoken, request: SpeechRequest, target: Target): UpstreamRequest
  /** Units of an answer whose bytes are sound; default the characters read. */
  units?(headers: Headers, context: DecodeContext): Record<string, number>
  /** An answer that is JSON; null = it holds no sound. */
  read?(answer: Fields, context: DecodeContext): SpeechResponse | null
}

const NO_WORDS = ['instructions', 'stream_format']
/** `audio` is what all of them do. */
const AS_EVER = ['stream_format=audio']

/** Sound goes out as it comes; JSON around it is read. */
export function ownSpeech(speech: OwnSpeech, readError: Provider['decodeError']): Adapter<SpeechRequest, SpeechResponse, never> {
  const { drop = [], ...rules } = speech.rules ?? {}
  const fieldsOf = ownFields('speech', { unsupported: NO_WORDS, ...rules, drop: [...AS_EVER, ...drop] })
  return {
    mode: 'speech',
    encodeRequest(request, target) {
      const { model: _, input: __, voice: ___, response_format: ____, ...fields } = fieldsOf(request, target)
      const rest = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))
      return speech.encode({ input: request.input, rest }, request, target)
    },
    decodeResponse(body, headers, context) {
      const source = sourceOf(body)
      const answer = jsonObject(source, 'The answer')
      const sound = speech.read?.(answer, context) ?? null
      if (sound !== null) return sound
      if (['error', 'errors', 'err_code', 'detail', 'message'].some((name) => answer[name])) throw readError(200, headers, source)
      throw new GatewayError('provider_malformed', 'The answer holds no sound.')
    },
    forward(headers, context) {
      const type = headers['content-type'] ?? ''
      if (type.includes('json')) return null
      const units = speech.units?.(headers, context) ?? charactersOf(context)
      return {
        contentType: /^$|octet-stream/.test(type) ? 'audio/mpeg' : type,
        usage: () => billedUnits(units),
      }
    },
  }
}

/** Characters as people count them: code points. */
export function charactersOf({ request: { input } }: DecodeContext): Record<string, number> {
  return { character_in: typeof input === 'string' ? [...input].length : 0 }
}

/** The number a header holds; null = it holds none. */
export function numberIn(header: string | undefined): number | null {
  if (header === undefined || !/^\d+(?:\.\d+)?$/.test(header.trim())) return null
  return Number(header)
}

/** 16-bit little-endian samples of one channel under the header that says so (http://soundfile.sapp.org/doc/WaveFormat/). */
export function wavOf(samples: Uint8Array, rate: number): Uint8Array {
  const header = Buffer.alloc(44)
  header.write('RIFF', 0)
  header.writeUInt32LE(36 + samples.length, 4)
  header.write('WAVEfmt ', 8)
  header.writeUInt32LE(16, 16)
  header.writeUInt16LE(1, 20)
  header.writeUInt16LE(1, 22)
  header.writeUInt32LE(rate, 24)
  header.writeUInt32LE(rate * 2, 28)
  header.writeUInt16LE(2, 32)
  header.writeUInt16LE(16, 34)
  header.write('data', 36)
  header.writeUInt32LE(samples.length, 40)
  return Buffer.concat([header, samples])
}
