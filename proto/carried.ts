import type { Endpoint } from './endpoints.ts'

/** Who knows a family of carried endpoints: one file each in router-svc/carried. */
export type CarrierName = 'pass-through' | 'responses'

/**
 * An endpoint whose calls are carried to a provider in the provider's own words: no model speaks, or the client wants that very provider.
 * Limits, budgets and the bill hold as for any call; there is no translation and no fallback.
 */
export interface CarriedEndpoint {
  /** Name in the ledger's `call_type`. */
  name: string
  methods: readonly string[]
  /** With `/v1`, also served without it. `{id}` takes one segment; `{rest}` at the end takes all that is left, slashes and nothing included. */
  path: string
  carrier: CarrierName
  /** The dialect whose error form clients of this path expect. */
  dialect: Endpoint['dialect']
  /** Groups of routes a key's `allowed_routes` may name (surface reference §0.1). */
  groups: readonly string[]
}

/** What a carried call says beside its body. */
export interface CarriedCall {
  method: string
  /** As sent, percent-encoding kept. */
  path: string
  /** As sent, without the question mark and without credentials. */
  query: string
  /** What `{name}` in the endpoint's path stands for, decoded. */
  params: Record<string, string>
}

const MAPPED = ['mapped_pass_through_routes', 'llm_api_routes'] as const
const ANY = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

function passThrough(prefix: string, dialect: Endpoint['dialect'] = 'openai-chat'): CarriedEndpoint {
  return {
    name: 'pass_through_endpoint',
    methods: ANY,
    path: `/${prefix}/{rest}`,
    carrier: 'pass-through',
    dialect,
    groups: MAPPED,
  }
}

const OPENAI = ['openai_routes', 'llm_api_routes'] as const

/** What is done with responses of the Responses API beside making them, below each path it is served at. */
function responses(root: string): CarriedEndpoint[] {
  const row = (name: string, method: string, path: string): CarriedEndpoint => ({
    name,
    methods: [method],
    path: root + path,
    carrier: 'responses',
    dialect: 'openai-responses',
    groups: OPENAI,
  })
  return [
    row('acompact_responses', 'POST', '/compact'),
    row('aresponses_input_tokens', 'POST', '/input_tokens'),
    row('aget_responses', 'GET', '/{id}'),
    row('adelete_responses', 'DELETE', '/{id}'),
    row('acancel_responses', 'POST', '/{id}/cancel'),
    row('alist_input_items', 'GET', '/{id}/input_items'),
  ]
}

/** Carried endpoints. A new one is one row here, plus a carrier when nobody knows its family. Dialect endpoints come first. */
export const CARRIED: readonly CarriedEndpoint[] = [
  ...responses('/v1/responses'),
  ...responses('/openai/v1/responses'),
  ...responses('/openai/responses'),
  passThrough('openai'),
  passThrough('openai_passthrough'),
  passThrough('anthropic', 'anthropic'),
]

/** The carried endpoint of a name and path pattern; undefined for one of a newer edge. */
export function carriedEndpoint(name: string, path: string): CarriedEndpoint | undefined {
  return CARRIED.find((row) => row.name === name && row.path === path)
}

/** The same as the gateway's own code sees endpoints: in no mode of its own, billed as a chat is. */
export function asEndpoint({ name, path, dialect }: CarriedEndpoint): Endpoint {
  return { name, method: 'POST', path, aliases: [], mode: 'chat', dialect, body: 'json' }
}
