/** What an endpoint asks of a model. An adapter offers some of these. */
export type Mode = 'chat' | 'completion' | 'embedding'

/** The protocol a client speaks on an endpoint; each is one file in router-svc/dialects. */
export type DialectName = 'openai-chat' | 'openai-completion' | 'openai-embedding' | 'anthropic'

/** One client-facing inference endpoint. */
export interface Endpoint {
  /** Name on the wire and in the ledger's `call_type`. */
  name: string
  method: 'POST'
  /** Path with `/v1`; every path is also served without it. */
  path: string
  /** Azure-style and engine aliases: `{model}` in the path names the model. */
  aliases: string[]
  mode: Mode
  dialect: DialectName
  body: 'json'
}

/**
 * The inference endpoints. A new one is one row here, plus a dialect when it speaks a new protocol. Whatever is not listed
 * (and is not health, models or metrics) is carried to accounting.
 */
export const ENDPOINTS = [
  {
    name: 'acompletion',
    method: 'POST',
    path: '/v1/chat/completions',
    aliases: ['/openai/deployments/{model}/chat/completions', '/engines/{model}/chat/completions'],
    mode: 'chat',
    dialect: 'openai-chat',
    body: 'json',
  },
  {
    name: 'atext_completion',
    method: 'POST',
    path: '/v1/completions',
    aliases: ['/openai/deployments/{model}/completions', '/engines/{model}/completions'],
    mode: 'completion',
    dialect: 'openai-completion',
    body: 'json',
  },
  {
    name: 'aembedding',
    method: 'POST',
    path: '/v1/embeddings',
    aliases: ['/openai/deployments/{model}/embeddings', '/engines/{model}/embeddings'],
    mode: 'embedding',
    dialect: 'openai-embedding',
    body: 'json',
  },
  {
    name: 'anthropic_messages',
    method: 'POST',
    path: '/v1/messages',
    aliases: [],
    mode: 'chat',
    dialect: 'anthropic',
    body: 'json',
  },
] as const satisfies readonly Endpoint[]

export type EndpointName = (typeof ENDPOINTS)[number]['name']

/** The endpoint row of a name; undefined for a name of a newer edge. */
export function endpoint(name: string): Endpoint | undefined {
  return ENDPOINTS.find((row) => row.name === name)
}
