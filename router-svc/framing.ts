import { GatewayError } from '../shared/errors.ts'
import { type SseEvent, SseParser } from '../shared/http/sse.ts'
import { AwsEventStreamParser } from './aws-event-stream.ts'
import type { Framing } from './providers/provider.ts'

/** Bytes of a stream → events, incremental and split-proof. */
export interface EventParser {
  push(bytes: Uint8Array): SseEvent[]
  /** What is left at the end of input, where it is an event. */
  end(): SseEvent[]
}

/** Content types by which an answer is known for a stream of its framing. */
const TYPES: Readonly<Record<Framing, RegExp>> = {
  sse: /text\/event-stream/,
  lines: /json/,
  aws: /vnd\.amazon\.eventstream/,
  // Whatever it is called: only errors come as JSON.
  raw: /^(?!application\/(?:problem\+)?json)/,
  loose: /json|text\/(?:event-stream|plain)/,
}

/** Whether an answer to a stream request is the stream, and not an error or a whole answer in its place. */
export function isStream(framing: Framing, contentType: string): boolean {
  return TYPES[framing].test(contentType)
}

export function eventParser(framing: Framing): EventParser {
  switch (framing) {
    case 'sse':
      return new SseParser()
    case 'lines':
    case 'loose':
      return new LineParser()
    case 'aws':
      return new AwsEventStreamParser()
    case 'raw':
      return new TextParser()
  }
}

/** A line that never ends must not fill our memory; bytes. */
const LINE_LIMIT = 16 * 1024 * 1024
const LF = 10

/** One event a line; blank lines are none. */
class LineParser implements EventParser {
  #held: Uint8Array[] = []
  #length = 0

  push(bytes: Uint8Array): SseEvent[] {
    const events: SseEvent[] = []
    let from = 0
    for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, from)) {
      this.#hold(bytes.subarray(from, at))
      events.push(...this.end())
      from = at + 1
    }
    // A copy: the bytes are the socket's.
    if (from < bytes.length) this.#hold(bytes.slice(from))
    return events
  }

  end(): SseEvent[] {
    const data = Buffer.concat(this.#held).toString('utf8').trim()
    this.#held = []
    this.#length = 0
    return data === '' ? [] : [{ event: '', data }]
  }

  #hold(bytes: Uint8Array): void {
    this.#length += bytes.length
    if (this.#length > LINE_LIMIT)
      throw new GatewayError('provider_malformed', `A line of the stream is longer than ${LINE_LIMIT} bytes.`)
    this.#held.push(bytes)
  }
}

/** Text as it comes, a character never cut in two. */
class TextParser implements EventParser {
  readonly #decoder = new TextDecoder()

  push(bytes: Uint8Array): SseEvent[] {
    return this.#event(this.#decoder.decode(bytes, { stream: true }))
  }

  end(): SseEvent[] {
    return this.#event(this.#decoder.decode())
  }

  #event(data: string): SseEvent[] {
    return data === '' ? [] : [{ event: '', data }]
  }
}
