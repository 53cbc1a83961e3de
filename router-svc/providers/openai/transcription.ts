import type { TokenUsage } from '../../../proto/usage.ts'
import type { MediaRow } from '../../../shared/catalog/media.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { TranscriptionRequest, TranscriptionResponse, TranscriptionSegment } from '../../canonical/transcription.ts'
import { isUploadedFile } from '../../canonical/uploaded-file.ts'
import { type Fields, fieldsIn, isFields, sourceOf } from '../json.ts'
import type { Adapter, DecodeContext, Forwarded, Headers } from '../provider.ts'
import { soundLength } from '../sound-length.ts'
import { writeSubtitles } from '../subtitles.ts'
import { forwardedEvents, forwardedWhole } from './forwarded-events.ts'
import { asForm } from './images.ts'
import { billedUnits, mediaTokens, withUnits } from './media-usage.ts'
import type { RequestEncoder } from './request.ts'
import type { ErrorReader } from './response.ts'

/** The only models that know every form, and the only ones billed by the second. */
const TIMED = /whisper/i
/** Tells its seconds in plain JSON too. */
const TELLS = 'whisper-1'
/** What the plain form has not. */
const VERBOSE = ['task', 'language', 'duration', 'segments', 'words', 'x_groq']

/**
 * Speech to text of OpenAI's protocol. What says how long the sound is, or how many tokens it took, is asked for whatever form the client wants,
 * which is then written here.
 */
export function transcriptionAdapter(
  mode: 'transcription' | 'translation',
  media: MediaRow,
  encoder: RequestEncoder,
  readError: ErrorReader,
): Adapter<TranscriptionRequest, TranscriptionResponse, never> {
  return {
    mode,
    encodeRequest(request, target) {
      const { file, ...body } = encoder.shape(request, target)
      const form = formToAsk(request, target.baseModel ?? target.model)
      if (media.plainHearing) {
        delete body['response_format']
        if (media.plainHearing !== 'untimed' && needsTimes(request)) body['timestamp_granularities'] ??= ['segment']
      } else if (form !== null) body['response_format'] = form
      // Those that read forms as they come want the file last.
      return asForm(encoder, target, { ...body, file })
    },
    decodeResponse: (body, _headers, context) => decodeHeard(body, context, mode, readError),
    forward: (headers, context) => forwardHeard(headers, context, mode, readError),
  }
}

/** The form to ask for in the place of what the client wants; null = that very one. */
function formToAsk({ response_format: asked, stream }: TranscriptionRequest, model: string): string | null {
  if (stream === true) return null
  const timed = TIMED.test(model)
  switch (asked ?? 'json') {
    case 'json':
      return timed && model !== TELLS ? 'verbose_json' : null
    case 'text':
      return timed ? 'verbose_json' : 'json'
    case 'srt':
    case 'vtt':
      return timed ? 'verbose_json' : null
    default:
      return null
  }
}

function needsTimes({ response_format: asked }: Readonly<Fields>): boolean {
  return asked === 'srt' || asked === 'vtt' || asked === 'verbose_json'
}

function decodeHeard(
  body: Uint8Array,
  context: DecodeContext,
  mode: 'transcription' | 'translation',
  readError: ErrorReader,
): TranscriptionResponse {
  const source = sourceOf(body)
  const asked = context.request['response_format'] ?? 'json'
  const answer = answerIn(source)
  if (answer === null) {
    const billing = billingOf({}, context.request)
    // Vendors know more forms than OpenAI; all but JSON are text.
    return typeof asked === 'string' && !asked.includes('json')
      ? { text: '', raw: source, billing }
      : { text: source.trim(), billing }
  }
  if (typeof answer['text'] !== 'string') {
    if (answer['error'] !== undefined && answer['error'] !== null) throw readError(200, {}, source)
    throw new GatewayError('provider_malformed', 'The answer holds no text.')
  }
  return heardAs(answer, context, mode)
}

/** An answer in OpenAI's verbose form, of whoever heard it, in the form the client asked for. */
export function heardAs(
  answer: Readonly<Fields>,
  context: DecodeContext,
  mode: 'transcription' | 'translation',
): TranscriptionResponse {
  const asked = context.request['response_format'] ?? 'json'
  const heard = normalised(answer)
  const billing = billingOf(heard, context.request)
  if (asked === 'text') return { text: heard.text, raw: `${heard.text.trim()}\n`, billing }
  if (asked === 'srt' || asked === 'vtt')
    return { text: heard.text, raw: writeSubtitles(asked, segmentsOf(withLength(heard, context))), billing }
  if (asked === 'verbose_json') {
    const task = mode === 'transcription' ? 'transcribe' : 'translate'
    return { task, ...heard, billing }
  }
  return { ...(asked === 'json' && answer['task'] !== undefined ? plain(heard) : heard), billing }
}

/** Null for what is no JSON: text and subtitles as they are. */
function answerIn(source: string): Fields | null {
  return source.trimStart().startsWith('{') ? fieldsIn(source) : null
}

/** Seconds and words under OpenAI's names. */
function normalised(answer: Readonly<Fields>): TranscriptionResponse {
  const heard = { ...answer } as TranscriptionResponse
  if (typeof heard.duration === 'string') heard.duration = Number(heard.duration)
  const seconds = isFields(heard.usage) ? heard.usage['prompt_audio_seconds'] : undefined
  if (heard.duration === undefined && typeof seconds === 'number') heard.duration = seconds
  if (heard.language === null) delete heard.language
  if (Array.isArray(heard.words)) {
    heard.words = (heard.words as unknown as Fields[]).map(({ text, ...word }) => ({ word: text, ...word }) as never)
  }
  return heard
}

/** Text without any times is shown from the beginning of the sound to its end. */
function withLength(heard: TranscriptionResponse, { request: { file } }: DecodeContext): TranscriptionResponse {
  if (typeof heard.duration === 'number' || !isUploadedFile(file)) return heard
  return { ...heard, duration: soundLength(file.bytes).milliseconds / 1000 }
}

/** OpenAI's plain form of a verbose answer. */
function plain(heard: TranscriptionResponse): TranscriptionResponse {
  const left = Object.fromEntries(Object.entries(heard).filter(([name]) => !VERBOSE.includes(name))) as TranscriptionResponse
  const { duration } = heard
  if (left.usage === undefined && typeof duration === 'number') left.usage = { type: 'duration', seconds: Math.ceil(duration) }
  return left
}

type Line = Pick<TranscriptionSegment, 'start' | 'end' | 'text' | 'speaker'>

/** Subtitles of what has no segments: of its words, a line a sentence or seven seconds; else all of it at once. */
export function segmentsOf({ segments, words, text, duration }: TranscriptionResponse): Line[] {
  if (segments !== undefined && segments.length > 0) return segments
  if (words === undefined || words.length === 0) return text === '' ? [] : [{ start: 0, end: duration ?? 0, text }]
  const lines: Line[] = []
  let open: Line | null = null
  for (const { word, start, end, speaker } of words) {
    if (open !== null && open.speaker !== speaker) {
      lines.push(open)
      open = null
    }
    if (open === null) open = { start, end, text: word, ...(typeof speaker === 'string' ? { speaker } : {}) }
    else Object.assign(open, { end, text: `${open.text} ${word.trim()}` })
    if (!/[.!?…]$/.test(word) && end - open.start < 7) continue
    lines.push(open)
    open = null
  }
  return open === null ? lines : [...lines, open]
}

/** By what the answer says of tokens or seconds, else by the sound itself. */
function billingOf(answer: Readonly<Fields>, request: Readonly<Fields>): TokenUsage {
  const tokens = mediaTokens(answer['usage'], 'text_tokens')
  if (tokens?.units !== undefined) return tokens
  const { duration } = answer
  const told = typeof duration === 'number' && duration > 0 ? Math.round(duration * 1000) : null
  if (told !== null) return tokens === null ? billedUnits({ audio_ms_in: told }) : withUnits(tokens, { audio_ms_in: told })
  const { file } = request
  const length = isUploadedFile(file) ? soundLength(file.bytes) : { milliseconds: 0, exact: false }
  if (tokens === null) return billedUnits({ audio_ms_in: length.milliseconds }, !length.exact)
  return length.exact ? withUnits(tokens, { audio_ms_in: length.milliseconds }) : tokens
}

function forwardHeard(
  headers: Headers,
  context: DecodeContext,
  mode: 'transcription' | 'translation',
  readError: ErrorReader,
): Forwarded | null {
  const { request } = context
  if (request['stream'] !== true) return null
  const type = headers['content-type'] ?? ''
  if (!type.includes('event-stream')) {
    return forwardedWhole(type, (body) => decodeHeard(body, context, mode, readError).billing ?? billingOf({}, request))
  }
  return forwardedEvents(headers, {
    last: ['transcript.text.done'],
    readError,
    billed: (event) => (isFields(event['usage']) ? billingOf(event, request) : null),
    otherwise: () => billingOf({}, request),
  })
}
