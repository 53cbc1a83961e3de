import type { TokenUsage } from '../../proto/usage.ts'

/** OpenAI's text to speech; unknown fields survive. */
export interface SpeechRequest {
  model: string
  input: string
  voice: string | Record<string, unknown>
  instructions?: string | null
  /** mp3 (default), opus, aac, flac, wav, pcm (16 bit, little-endian, 24 kHz, mono). */
  response_format?: string | null
  speed?: number | null
  stream_format?: 'audio' | 'sse' | null
  [field: string]: unknown
}

/** A whole sound. Where a provider answers with bytes they are forwarded as they come instead (`Adapter.forward`). */
export interface SpeechResponse {
  audio: Uint8Array
  /** `audio/mpeg`, … */
  contentType: string
  /** Characters (unit `character_in`), tokens or seconds (`audio_ms_out`), by what the provider bills. */
  billing?: TokenUsage
}
