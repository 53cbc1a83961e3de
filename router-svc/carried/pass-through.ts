import type { Route } from '../runtime.ts'
import type { CarriedRequest, CarriedUpstream, Carrier } from './carrier.ts'
import { usageMeter } from './usage-meter.ts'

/** Where one prefix leads. */
interface PassThrough {
  provider: string
  /** Root of the provider's API below which the rest of the path is meant: without the version its own base may end with. No trailing slash. */
  root(route: Route): string
}

const withoutVersion = ({ target }: Route): string => target.base.replace(/\/v\d+$/, '')

/** By prefix (surface reference §1.4). */
const PREFIXES: Readonly<Record<string, PassThrough>> = {
  openai: { provider: 'openai', root: withoutVersion },
  openai_passthrough: { provider: 'openai', root: withoutVersion },
  anthropic: { provider: 'anthropic', root: withoutVersion },
}

/** Of the request, not passed on: about the connection, or about the caller's credential with us. */
const KEPT_BACK =
  /^(?:host|connection|keep-alive|transfer-encoding|content-length|te|trailer|upgrade|expect|accept-encoding|cookie|origin|referer|authorization|api-key|x-api-key|x-goog-api-key|x-forwarded-.+|forwarded|x-real-ip|x-litellm-.+|litellm_user_api_key|sec-.+|priority|traceparent|tracestate)$/

/** Native bytes both ways: path, query, body and headers as the client sent them, the credential ours, usage read as it goes by. */
export const passThrough: Carrier = {
  choose(request, find) {
    const { provider } = prefixOf(request)
    const named = request.json()?.['model']
    const model = typeof named === 'string' && named !== '' ? named : provider
    return { route: find.byProvider(provider, 'pass-through'), model, modelGroup: model }
  },
  async serve(request, { route }) {
    return { kind: 'forward', upstream: upstreamOf(request, prefixOf(request).root(route)), meter: usageMeter() }
  },
}

function prefixOf({ pattern }: CarriedRequest): PassThrough {
  return PREFIXES[pattern.split('/')[1] as string] as PassThrough
}

function upstreamOf(request: CarriedRequest, root: string): CarriedUpstream {
  const headers: Record<string, string> = {}
  for (const name in request.headers) if (!KEPT_BACK.test(name)) headers[name] = request.headers[name] as string
  // The rest as the client wrote it: decoding and encoding again would change what some signatures and ids mean.
  const rest = request.path.slice(request.pattern.indexOf('{rest}'))
  const query = request.query === '' ? '' : `?${request.query}`
  return { method: request.method, url: `${root}/${rest}${query}`, headers, body: request.body }
}
