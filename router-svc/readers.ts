import { GatewayError } from '../shared/errors.ts'
import type { Call } from './call.ts'
import { ChunkEncoder, type StreamReader, TranslatingReader } from './read-stream.ts'
import { decodeContext, translatingUnary, type UnaryReader } from './read-unary.ts'
import type { Route } from './runtime.ts'
import { adapterOf, type Sent } from './upstream-request.ts'

/** How the answer of this attempt is read. */
export function unaryReader(call: Call, route: Route, sent: Sent, now: number): UnaryReader {
  return translatingUnary(call, route, sent, now)
}

/** How the stream of this attempt is read. `now`: Unix milliseconds. Throws GatewayError `unsupported_endpoint`. */
export function streamReader(call: Call, route: Route, sent: Sent, now: number): StreamReader {
  const adapter = adapterOf(call, route)
  if (adapter.decodeStream === undefined)
    throw new GatewayError('unsupported_endpoint', `${call.endpoint.path} cannot be streamed.`)
  const encoder = call.dialect.encodeStream({ model: call.requestedModel, includeUsage: call.includeUsage })
  return new TranslatingReader(adapter.decodeStream(decodeContext(call, route, sent, now)), new ChunkEncoder(encoder))
}
