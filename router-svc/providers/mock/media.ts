import { crc32, deflateSync } from 'node:zlib'
import type { Mode } from '../../../proto/endpoints.ts'
import { NO_TOKENS } from '../../../proto/usage.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ImageResponse } from '../../canonical/image.ts'
import type { ModerationRequest, ModerationResponse } from '../../canonical/moderation.ts'
import type { RerankRequest, RerankResponse } from '../../canonical/rerank.ts'
import type { SpeechRequest, SpeechResponse } from '../../canonical/speech.ts'
import type { TranscriptionRequest, TranscriptionResponse } from '../../canonical/transcription.ts'
import type { AnyImageRequest } from '../images/adapter.ts'
import { billedUnits, imageUnits } from '../openai/media-usage.ts'
import { textOf } from '../openai/rerank.ts'
import { heardAs } from '../openai/transcription.ts'
import { wavOf } from '../own-speech.ts'
import { soundLength } from '../sound-length.ts'
import type { MockScript } from './script.ts'

export type MockMediaResponse = ImageResponse | SpeechResponse | TranscriptionResponse | ModerationResponse | RerankResponse

interface Envelope {
  callId: string
  /** Unix seconds. */
  created: number
}

type Request = Readonly<Record<string, unknown>>

/** Images a request may ask for, as with OpenAI. */
const MOST_IMAGES = 10
/** Pixels of a side: whatever size is asked for, it is there to be looked at, not to be large. */
const SIDE = 64
const SAMPLES_PER_SECOND = 24_000
const SECONDS_PER_CHARACTER = 0.06
const MOST_SECONDS = 10
/** A quiet tone, hertz and loudness. */
const PITCH = 440
const LOUDNESS = 2_000

/**
 * Answers of the mock that are no text: a PNG of one colour, a WAV of a tone (whatever form is asked for but `pcm`), a sentence for any sound,
 * harmless verdicts (`text: flagged` for the others), rankings by shared words. Null = another mode. Throws GatewayError `bad_request`, or
 * `unsupported_endpoint` where events are asked for.
 */
export function mockMedia(mode: Mode, request: Request, script: MockScript, envelope: Envelope): MockMediaResponse | null {
  switch (mode) {
    case 'image':
    case 'image_edit':
    case 'image_variation':
      return images(request as AnyImageRequest, script, envelope)
    case 'speech':
      return speech(request as SpeechRequest)
    case 'transcription':
    case 'translation':
      return heard(request as TranscriptionRequest, mode, script, envelope)
    case 'moderation':
      return verdicts(request as ModerationRequest, script, envelope)
    case 'rerank':
      return ranking(request as unknown as RerankRequest, envelope)
    default:
      return null
  }
}

function images(request: AnyImageRequest, script: MockScript, { created }: Envelope): ImageResponse {
  refuseEvents(request)
  const count = typeof request.n === 'number' ? request.n : 1
  if (count > MOST_IMAGES) throw new GatewayError('bad_request', `Invalid value for 'n': at most ${MOST_IMAGES}.`, { param: 'n' })
  const prompt = typeof request['prompt'] === 'string' ? request['prompt'] : ''
  const data = Array.from({ length: count }, (_, index) => {
    const base64 = png(crc32(`${index} ${prompt}`)).toString('base64')
    const url = `data:image/png;base64,${base64}`
    const image =
      request.response_format === 'b64_json'
        ? { b64_json: base64 }
        : request.response_format === 'url'
          ? { url }
          : { url, b64_json: base64 }
    return { ...image, ...(prompt === '' ? {} : { revised_prompt: script.text ?? prompt }) }
  })
  return { created, data, billing: billedUnits(imageUnits(count, request, {})) }
}

/** A square of one colour (https://www.w3.org/TR/png-3/): eight bits a channel, no filter, no interlace. */
function png(colour: number): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(SIDE, 0)
  header.writeUInt32BE(SIDE, 4)
  header.writeUInt8(8, 8)
  header.writeUInt8(2, 9)
  const row = Buffer.alloc(1 + SIDE * 3)
  for (let at = 1; at < row.length; at += 3) row.writeUIntBE(colour & 0xffffff, at, 3)
  const pixels = deflateSync(Buffer.concat(Array.from({ length: SIDE }, () => row)))
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))])
}

function chunk(name: string, data: Buffer): Buffer {
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  const named = Buffer.concat([Buffer.from(name), data])
  sum.writeUInt32BE(crc32(named))
  return Buffer.concat([length, named, sum])
}

function speech(request: SpeechRequest): SpeechResponse {
  if (request.stream_format === 'sse') throw noEvents('stream_format')
  const characters = [...request.input].length
  const seconds = Math.min(MOST_SECONDS, characters * SECONDS_PER_CHARACTER)
  const samples = Buffer.alloc(2 * Math.ceil(seconds * SAMPLES_PER_SECOND))
  for (let at = 0; at < samples.length; at += 2)
    samples.writeInt16LE(Math.round(LOUDNESS * Math.sin((Math.PI * PITCH * at) / SAMPLES_PER_SECOND)), at)
  const billing = billedUnits({ character_in: characters })
  if (request.response_format === 'pcm') return { audio: samples, contentType: 'audio/pcm', billing }
  return { audio: wavOf(samples, SAMPLES_PER_SECOND), contentType: 'audio/wav', billing }
}

function heard(
  request: TranscriptionRequest,
  mode: 'transcription' | 'translation',
  script: MockScript,
  { callId, created }: Envelope,
): TranscriptionResponse {
  refuseEvents(request)
  const { milliseconds } = soundLength(request.file.bytes)
  const duration = milliseconds / 1000
  const text = script.text ?? `This is Turnpike's mock model. It was sent ${request.file.bytes.length} bytes of sound.`
  const segments = [{ id: 0, start: 0, end: duration, text }]
  const context = { id: callId, created, model: request.model, request }
  const answer = heardAs({ task: 'transcribe', language: 'english', duration, text, segments }, context, mode)
  return { ...answer, billing: billedUnits({ audio_ms_in: milliseconds }) }
}

function verdicts({ model, input }: ModerationRequest, script: MockScript, { callId }: Envelope): ModerationResponse {
  const flagged = script.text === 'flagged'
  // Several images and texts in one list are one input.
  const texts = Array.isArray(input) && typeof input[0] === 'string' ? input : [input]
  const results = texts.map(() => ({
    flagged,
    categories: { violence: flagged, harassment: false },
    category_scores: { violence: flagged ? 0.99 : 0.001, harassment: 0.001 },
  }))
  const tokens = script.prompt_tokens ?? Math.ceil(JSON.stringify(input).length / 4)
  return { id: `modr-${callId}`, model, results, billing: { ...NO_TOKENS, input: tokens } }
}

function ranking(request: RerankRequest, { callId }: Envelope): RerankResponse {
  const asked = wordsOf(request.query)
  const results = request.documents
    .map((document, index) => {
      const text = textOf(document, request.rank_fields)
      const own = wordsOf(text)
      const shared = [...asked].filter((word) => own.has(word)).length
      const scored = { index, relevance_score: asked.size === 0 ? 0 : shared / asked.size }
      return request.return_documents === true ? { ...scored, document: { text } } : scored
    })
    .sort((one, other) => other.relevance_score - one.relevance_score)
    .slice(0, request.top_n ?? request.documents.length)
  const searches = Math.max(1, Math.ceil(request.documents.length / 100))
  return {
    id: `rerank-${callId}`,
    results,
    meta: { billed_units: { search_units: searches } },
    billing: billedUnits({ query: searches }),
  }
}

function wordsOf(text: string): Set<string> {
  return new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [])
}

function refuseEvents({ stream }: Request): void {
  if (stream === true) throw noEvents('stream')
}

function noEvents(param: string): GatewayError {
  return new GatewayError('unsupported_endpoint', 'The mock streams chats and completions only.', { param })
}
