import { NO_TOKENS, type TokenUsage } from '../../proto/usage.ts'
import { tokensOf } from '../canonical/usage.ts'
import { type Fields, isFields } from '../providers/json.ts'
import { readUsage } from '../providers/openai/usage.ts'

/** What an event of the provider means for the bill. */
export type Seen =
  | { kind: 'began' }
  /** `status`: `completed`, `cancelled`, `failed`, `incomplete`. Usage null = the provider tells none. */
  | { kind: 'response'; usage: TokenUsage | null; status: string }
  /** What was heard was written down, by a model of its own. */
  | { kind: 'transcription'; usage: TokenUsage | null; model: string | null }

const TYPE = /^\s*\{\s*"type"\s*:\s*"([\w.]{1,80})"/
/** Bytes in which the type nearly always is. */
const HEAD = 160
/** Events that are read; all others are only counted. */
const READ = [
  'response.created',
  'response.done',
  'session.created',
  'session.updated',
  'transcription_session.updated',
  'conversation.item.input_audio_transcription.completed',
] as const
const NEEDLES = READ.map((type) => ({ type, needle: Buffer.from(`"${type}"`) }))
/** Bytes of an event around its delta, about. */
const ENVELOPE = 200
/** Base64 of one token of sound: 50 ms of 24 kHz and two bytes. */
const AUDIO_TOKEN_BYTES = (2_400 * 4) / 3
const TEXT_TOKEN_BYTES = 4

/**
 * Reads the usage of a realtime session from its events as they go by. Never throws: what nobody knows costs nothing and is delivered.
 */
export class SessionMeter {
  /** The model the provider says it is. */
  model: string | null = null
  #transcriptionModel: string | null = null
  /** Tokens of the conversation so far: what the next answer begins with. */
  #context = 0
  #textBytes = 0
  #audioBytes = 0

  /** Null for an event that means nothing here. */
  see(payload: Uint8Array): Seen | null {
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length)
    const type = typeOf(bytes)
    if (type === null) return null
    if (type.endsWith('.delta')) {
      this.#count(type, bytes.length)
      return null
    }
    const event = READ.includes(type as (typeof READ)[number]) ? parsed(bytes) : null
    return event === null ? null : this.#read(event)
  }

  /** Of an answer that never ended: the conversation it read, about, and what came of it. */
  estimate(): TokenUsage {
    const audio = Math.ceil(this.#audioBytes / AUDIO_TOKEN_BYTES)
    const output = Math.ceil(this.#textBytes / TEXT_TOKEN_BYTES) + audio
    return { ...NO_TOKENS, input: this.#context, output, audioOutput: audio, estimated: true }
  }

  #read(event: Fields): Seen | null {
    switch (event['type']) {
      case 'response.created':
        this.#textBytes = this.#audioBytes = 0
        return { kind: 'began' }
      case 'response.done': {
        const response = isFields(event['response']) ? event['response'] : {}
        const usage = usageOf(response['usage'])
        if (usage !== null) this.#context = usage.input + usage.output
        const status = response['status']
        return { kind: 'response', usage, status: typeof status === 'string' ? status : 'completed' }
      }
      case 'conversation.item.input_audio_transcription.completed':
        return { kind: 'transcription', usage: usageOf(event['usage']), model: this.#transcriptionModel }
      case 'session.created':
      case 'session.updated':
      case 'transcription_session.updated':
        this.#learn(isFields(event['session']) ? event['session'] : {})
        return null
      default:
        return null
    }
  }

  #learn(session: Fields): void {
    const { model } = session
    if (typeof model === 'string' && model !== '') this.model = model.slice(0, 256)
    const input = isFields(session['audio']) ? session['audio']['input'] : undefined
    for (const place of [session['input_audio_transcription'], isFields(input) ? input['transcription'] : undefined]) {
      if (isFields(place) && typeof place['model'] === 'string') this.#transcriptionModel = place['model'].slice(0, 256)
    }
  }

  #count(type: string, length: number): void {
    const bytes = Math.max(0, length - ENVELOPE)
    // What is spoken also comes as text, which costs nothing more.
    if (type.includes('transcript')) return
    if (type.includes('audio')) this.#audioBytes += bytes
    else this.#textBytes += bytes
  }
}

/** Sound is never parsed: nearly all bytes of a session are sound. Inside of a JSON string a quote has a backslash, so that no text reads as a type. */
function typeOf(bytes: Buffer): string | null {
  const found = TYPE.exec(bytes.toString('latin1', 0, HEAD))?.[1]
  if (found !== undefined) return found
  return NEEDLES.find(({ needle }) => bytes.includes(needle))?.type ?? null
}

function usageOf(raw: unknown): TokenUsage | null {
  const usage = readUsage(raw)
  return usage === null ? null : tokensOf(usage)
}

function parsed(bytes: Buffer): Fields | null {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return isFields(value) ? value : null
  } catch {
    return null
  }
}
