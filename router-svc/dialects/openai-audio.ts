import { GatewayError, openaiErrorBody } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'
import type { SpeechRequest, SpeechResponse } from '../canonical/speech.ts'
import type { TranscriptionRequest, TranscriptionResponse } from '../canonical/transcription.ts'
import type { Dialect } from './dialect.ts'
import { filesOf, typedFields } from './form-fields.ts'
import { checkFields, checkModel, invalid } from './request-fields.ts'

const FORM = {
  temperature: 'number',
  stream: 'boolean',
  timestamp_granularities: 'list',
  include: 'list',
  known_speaker_names: 'list',
  known_speaker_references: 'list',
} as const

/** OpenAI's text to speech: the answer is the sound. */
export const openaiSpeech: Dialect<SpeechRequest, SpeechResponse, never, Uint8Array> = {
  name: 'openai-speech',
  mode: 'speech',
  protocol: null,
  streamType: 'text/event-stream',
  decodeRequest(body) {
    checkModel(body)
    const { input, voice } = body
    if (typeof input !== 'string' || input === '') throw invalid('input', 'non-empty string', input)
    if (typeof voice !== 'string' && !isObject(voice)) throw invalid('voice', 'string or object', voice)
    checkFields(body, [
      ['instructions', 'string'],
      ['response_format', 'string'],
      ['speed', 'number'],
      ['stream_format', 'string'],
    ])
    return body as SpeechRequest
  },
  encodeResponse: ({ audio }) => audio,
  contentType: ({ contentType }) => contentType,
  encodeStream: () => {
    throw new GatewayError('unsupported_endpoint', 'Speech of this provider is not streamed as events.', { param: 'stream' })
  },
  encodeError: (error) => JSON.stringify(openaiErrorBody(error)),
}

const HEARD = {
  protocol: null,
  streamType: 'text/event-stream',
  decodeRequest(form: Record<string, unknown>): TranscriptionRequest {
    const body = typedFields(form, FORM)
    checkModel(body)
    checkFields(body, [
      ['language', 'string'],
      ['prompt', 'string'],
      ['temperature', 'number'],
      ['stream', 'boolean'],
      ['response_format', 'string'],
      ['timestamp_granularities', 'list of strings'],
      ['include', 'list of strings'],
    ])
    const [file, ...more] = filesOf(body, 'file')
    if (more.length > 0) throw invalid('file', 'file', body['file'])
    return { ...body, file } as TranscriptionRequest
  },
  encodeResponse({ billing: _, raw, ...response }: TranscriptionResponse): string {
    return raw ?? JSON.stringify(response)
  },
  contentType: ({ raw }: TranscriptionResponse) => (raw === undefined ? 'application/json' : 'text/plain; charset=utf-8'),
  encodeStream: (): never => {
    throw new GatewayError('unsupported_endpoint', 'Transcriptions of this provider are not streamed.', { param: 'stream' })
  },
  encodeError: (error: GatewayError) => JSON.stringify(openaiErrorBody(error)),
} as const

/** OpenAI's speech to text. */
export const openaiTranscription: Dialect<TranscriptionRequest, TranscriptionResponse, never> = {
  name: 'openai-transcription',
  mode: 'transcription',
  ...HEARD,
}

/** OpenAI's speech to English text. */
export const openaiTranslation: Dialect<TranscriptionRequest, TranscriptionResponse, never> = {
  name: 'openai-translation',
  mode: 'translation',
  ...HEARD,
}
