import type { MediaRules } from '../../shared/catalog/media.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { TranscriptionRequest, TranscriptionResponse } from '../canonical/transcription.ts'
import { isUploadedFile, type UploadedFile } from '../canonical/uploaded-file.ts'
import { type Fields, isFields, jsonObject, sourceOf } from './json.ts'
import { heardAs, segmentsOf } from './openai/transcription.ts'
import { ownFields } from './own-fields.ts'
import type { Adapter, DecodeContext, Provider, Target, UpstreamRequest } from './provider.ts'

/** Sound to be written down, as services in words of their own take it. */
interface Listened {
  file: UploadedFile
  /** Whether the client wants to know when something was said, and who said it. */
  timed: boolean
  speakers: boolean
  /** Parameters that are left, under the service's names. */
  rest: Fields
}

/** What was heard, in OpenAI's verbose form: seconds, `words`, `segments`, speakers as strings. */
export interface Heard {
  text: string
  language?: string
  duration?: number
  words?: HeardWord[]
  segments?: { start: number; end: number; text: string; speaker?: string }[]
  [field: string]: unknown
}

interface HeardWord {
  word: string
  start: number
  end: number
  speaker?: string
}

export const NO_STREAM = ['include', 'stream', 'chunking_strategy', 'known_speaker_names', 'known_speaker_references']

/** How a service in words of its own hears. */
export interface OwnHearing {
  rules?: MediaRules
  /** Throws GatewayError. */
  encode(listened: Listened, target: Target): UpstreamRequest
  /** Null = the answer holds no text. */
  read(answer: Fields, context: DecodeContext): Heard | null
}

/** What a request asks of an ear. Throws GatewayError `unsupported_parameter`. */
export function listening(rules: MediaRules): (request: TranscriptionRequest, target: Target) => Listened {
  const fieldsOf = ownFields('transcription', rules)
  return (request, target) => {
    const { model: _, file, response_format: form, timestamp_granularities: __, ...fields } = fieldsOf(request, target)
    if (!isUploadedFile(file)) throw new GatewayError('bad_request', 'file must be a file.', { param: 'file' })
    const rest = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))
    const timed = typeof form === 'string' && /^(?:srt|vtt|verbose_json|diarized_json)$/.test(form)
    return { file, timed, speakers: form === 'diarized_json', rest }
  }
}

/** What was heard in the form the client asked for. */
export function heardResponse(heard: Heard, context: DecodeContext): TranscriptionResponse {
  const asked = context.request['response_format'] ?? 'json'
  const { segments: told, language = context.request['language'], ...rest } = heard
  const answer: Fields = { task: 'transcribe', ...(typeof language === 'string' ? { language } : {}), ...rest }
  const verbose = asked === 'verbose_json' || asked === 'diarized_json'
  if (told !== undefined || verbose) {
    const lines = segmentsOf({
      ...rest,
      segments: [],
      ...(told === undefined ? {} : { segments: told }),
    } as TranscriptionResponse)
    const type = asked === 'diarized_json' ? { type: 'transcript.text.segment' } : {}
    answer['segments'] = lines.map((line, id) => ({ id, ...type, ...line }))
  }
  if (asked === 'diarized_json') delete answer['words']
  return heardAs(answer, context, 'transcription')
}

export function ownHearing(
  hearing: OwnHearing,
  readError: Provider['decodeError'],
): Adapter<TranscriptionRequest, TranscriptionResponse, never> {
  const listened = listening(hearing.rules ?? {})
  return {
    mode: 'transcription',
    encodeRequest: (request, target) => hearing.encode(listened(request, target), target),
    decodeResponse(body, headers, context) {
      const source = sourceOf(body)
      const answer = jsonObject(source, 'The answer')
      const heard = hearing.read(answer, context)
      if (heard !== null) return heardResponse(heard, context)
      if (['error', 'errors', 'err_code', 'detail', 'message'].some((name) => answer[name])) throw readError(200, headers, source)
      throw new GatewayError('provider_malformed', 'The answer holds no text.')
    },
  }
}

/** Words under whatever name the service has them; what is none is left out. `divisor`: 1000 where it counts milliseconds. */
export function wordsOf(list: unknown, nameOf: (word: Fields) => unknown, divisor = 1): HeardWord[] {
  if (!Array.isArray(list)) return []
  return (list as unknown[]).filter(isFields).flatMap((raw) => {
    const word = nameOf(raw)
    const { start, end } = raw
    if (typeof word !== 'string' || typeof start !== 'number' || typeof end !== 'number') return []
    const speaker = raw['speaker'] ?? raw['speaker_id']
    return [{ word, start: start / divisor, end: end / divisor, ...speakerOf(speaker) }]
  })
}

export function speakerOf(speaker: unknown): { speaker?: string } {
  return typeof speaker === 'string' || typeof speaker === 'number' ? { speaker: String(speaker) } : {}
}

/** Parameters in an address: `true`, `3`, one of the name for every item of a list. */
export function queryOf(fields: Readonly<Fields>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item !== null && item !== undefined) query.append(name, typeof item === 'object' ? JSON.stringify(item) : String(item))
    }
  }
  return query.toString()
}
