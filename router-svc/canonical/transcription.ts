import type { TokenUsage } from '../../proto/usage.ts'
import type { UploadedFile } from './uploaded-file.ts'

/** OpenAI's speech to text, and its translation into English. Numbers, flags and lists of a form are such here. Unknown fields survive. */
export interface TranscriptionRequest {
  model: string
  file: UploadedFile
  language?: string | null
  prompt?: string | null
  /** json (default), text, srt, verbose_json, vtt, diarized_json. */
  response_format?: string | null
  temperature?: number | null
  timestamp_granularities?: string[] | null
  include?: string[] | null
  stream?: boolean | null
  [field: string]: unknown
}

export interface TranscriptionResponse {
  text: string
  /** The language heard, and seconds of sound; of verbose answers. */
  language?: string
  duration?: number
  segments?: TranscriptionSegment[]
  words?: { word: string; start: number; end: number; [field: string]: unknown }[]
  /** As OpenAI writes it: `{type: "tokens", …}` or `{type: "duration", seconds}`. */
  usage?: Record<string, unknown>
  /** The body as the provider wrote it, where that is the answer already (`text`, `srt`, `vtt` of an OpenAI-like server). */
  raw?: string
  /** Tokens, or milliseconds of sound (unit `audio_ms_in`). Never shown to a client. */
  billing?: TokenUsage
  [field: string]: unknown
}

export interface TranscriptionSegment {
  id: number
  /** Seconds. */
  start: number
  end: number
  text: string
  speaker?: string
  [field: string]: unknown
}
