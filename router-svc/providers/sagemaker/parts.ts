import { type SseEvent, SseParser } from '../../../shared/http/sse.ts'
import type { Usage } from '../../canonical/chat.ts'
import { BYTES_PART, EXCEPTION } from '../aws-exception.ts'
import type { StreamDecoder } from '../provider.ts'
import { decodeError } from './errors.ts'

/**
 * The frames of InvokeEndpointWithResponseStream for the decoder of the container's own stream, whose bytes they carry in pieces cut anywhere:
 * server-sent events, or a JSON document a line. States: unknown (nothing but white space came) → one of the two. An exception throws in any.
 */
export class PartsStream<Chunk> implements StreamDecoder<Chunk> {
  readonly #inner: StreamDecoder<Chunk>
  readonly #provider: string
  #events: SseParser | Lines | null = null

  constructor(provider: string, inner: StreamDecoder<Chunk>) {
    this.#provider = provider
    this.#inner = inner
  }

  get done(): boolean {
    return this.#inner.done
  }

  get usage(): Usage | null {
    return this.#inner.usage ?? null
  }

  push(event: SseEvent): Chunk[] {
    if (event.event.startsWith(EXCEPTION))
      throw decodeError(this.#provider, 200, { 'x-amzn-errortype': event.event.slice(EXCEPTION.length) }, event.data)
    if (event.event !== BYTES_PART) return []
    this.#events ??= eventsOf(event.data)
    return this.#events === null ? [] : this.#pushAll(this.#events.push(Buffer.from(event.data, 'latin1')))
  }

  end(): Chunk[] {
    return [...this.#pushAll(this.#events?.end() ?? []), ...this.#inner.end()]
  }

  #pushAll(events: readonly SseEvent[]): Chunk[] {
    return events.flatMap((event) => this.#inner.push(event))
  }
}

function eventsOf(data: string): SseParser | Lines | null {
  const begun = data.trimStart()
  if (begun === '') return null
  return begun.startsWith('{') || begun.startsWith('[') ? new Lines() : new SseParser()
}

/** Cuts only at line ends, which are no part of any other character. */
class Lines {
  #held = Buffer.alloc(0)

  push(bytes: Uint8Array): SseEvent[] {
    const input = Buffer.concat([this.#held, bytes])
    const at = input.lastIndexOf(10)
    this.#held = input.subarray(at + 1)
    return at < 0 ? [] : eventsIn(input.subarray(0, at))
  }

  end(): SseEvent[] {
    const rest = this.#held
    this.#held = Buffer.alloc(0)
    return eventsIn(rest)
  }
}

function eventsIn(bytes: Buffer): SseEvent[] {
  const lines = bytes.toString('utf8').split('\n')
  return lines.filter((line) => line.trim() !== '').map((line) => ({ event: '', data: line.trim() }))
}
