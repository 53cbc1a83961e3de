import type { DialectName, Mode } from '../../proto/endpoints.ts'
import type { GatewayError } from '../../shared/errors.ts'
import type { ResponsesClient } from '../canonical/chat.ts'
import type { Protocol } from '../providers/provider.ts'

/**
 * What clients speak: client ⇄ canonical. Pure; one file each, listed in index.ts.
 * `Request`, `Response` and `Chunk` are the canonical types of the dialect's mode, `Body` what a whole answer is made as.
 */
export interface Dialect<Request = unknown, Response = unknown, Chunk = unknown, Body extends string | Uint8Array = string> {
  readonly name: DialectName
  readonly mode: Mode
  /** The provider protocol whose bytes this dialect's clients can read as they are; null = none is forwarded unread. */
  readonly protocol: Protocol | null
  /** Checks the shape strictly where it matters and names what is wrong. Throws GatewayError `bad_request` with `param`. Unknown fields survive. */
  decodeRequest(body: Record<string, unknown>): Request
  /** The body for the client, `model` restamped with `model`. `request`: as `decodeRequest` made it. */
  encodeResponse(response: Response, model: string, request?: Request): Body
  /** Content type of that body; absent = JSON. */
  contentType?(response: Response, request: Request): string
  /** A stateful encoder of a stream; each call returns the bytes for the client, possibly empty. */
  encodeStream(options: StreamOptions): StreamEncoder<Chunk>
  /** JSON body of an error before the answer started. */
  encodeError(error: GatewayError): string
  /** HTTP status of that answer where the dialect's clients expect another than the error's own. */
  statusOf?(error: GatewayError): number
  /** How it is spoken where the address' parameters ask for another form of the same; null = as it is. */
  forQuery?(query: Readonly<Record<string, string>>): Dialect<Request, Response, Chunk, Body> | null
  /** Content type of a stream. */
  readonly streamType: string
}

export interface StreamOptions {
  /** Model name the client asked for; stamped on every chunk. */
  model: string
  /** The client asked for usage (`stream_options.include_usage`). */
  includeUsage: boolean
  /** The beginning of the answer is with the client, written by another: go on from there. */
  resume?: ResumePoint
  /** Of a client that speaks the Responses API. */
  responses?: ResponsesClient
}

/** Where an encoder stands that did not write the beginning. */
export interface ResumePoint {
  /** The client has the answer's first event (the role; `message_start`). */
  begun: boolean
  /** Name of the model it bears, where every event bears it. */
  model?: string
  /** Of dialects with content blocks: how many there are, and of which type the last one is while it is open. */
  blocks?: number
  open?: 'text' | 'thinking' | null
}

/** A chunk may have a member `turnpike`, what the gateway says of the answer: it goes to the client where the dialect has room. */
export interface StreamEncoder<Chunk> {
  push(chunk: Chunk): string
  /** The proper end: what still must be said, and the terminator. */
  end(): string
  /** A failure after the answer started: an error event; the stream ends without terminator (surface reference §7.3). */
  error(error: GatewayError): string
}
