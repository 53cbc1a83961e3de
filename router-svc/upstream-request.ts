import { GatewayError } from '../shared/errors.ts'
import type { Call } from './call.ts'
import type { ChatRequest } from './canonical/chat.ts'
import { continueRequest } from './failover/continuation.ts'
import { forwardRequest } from './pass-through.ts'
import { forwardMessages } from './pass-through-anthropic.ts'
import { forwardContents } from './pass-through-gemini.ts'
import { forwardResponses } from './pass-through-responses.ts'
import type { AnthropicAdapter } from './providers/anthropic/index.ts'
import type { Sanitiser } from './providers/anthropic/names.ts'
import type { GeminiAdapter } from './providers/gemini/index.ts'
import { plainChat } from './providers/plain-chat.ts'
import { plainGemini } from './providers/plain-gemini.ts'
import { plainResponses } from './providers/plain-responses.ts'
import type { Adapter, Conversation, Prefill, Target, UpstreamRequest } from './providers/provider.ts'
import type { ResponsesAdapter } from './providers/responses/native.ts'
import { speaksResponses } from './responses/turn.ts'
import type { Route } from './runtime.ts'

type AnyAdapter = Adapter<Record<string, unknown>, unknown, unknown>

/** What one attempt sends: the canonical request as the deployment gets it, and its bytes. */
export interface Sent {
  request: Record<string, unknown>
  upstream: UpstreamRequest
  /** Names of tools as the provider got them, to be put back into its answer; null = it got the client's own. */
  names: Sanitiser | null
}

/** The adapter of a route for the call's mode. Throws GatewayError `unsupported_endpoint`. */
export function adapterOf(call: Call, route: Route): AnyAdapter {
  if (call.responses !== null) {
    call.responses.demand(route)
    if (speaksResponses(route)) return route.provider.responses as unknown as AnyAdapter
  }
  const adapter = route.provider[call.endpoint.mode] as AnyAdapter | undefined
  if (adapter === undefined) {
    throw new GatewayError('unsupported_endpoint', `${route.provider.name} does not serve ${call.endpoint.path}.`, {
      param: 'model',
    })
  }
  return adapter
}

/** Whether client and provider speak the same protocol, nobody looks inside, and the answer has no other beginning: bytes go through. */
export function passes(call: Call, adapter: AnyAdapter): boolean {
  return adapter.protocol === call.dialect.protocol && call.capture === null && call.resume === null
}

/** The exact request for one attempt: the client's own, over the deployment's defaults, under its overrides, with the credential. */
export function encodeUpstream(call: Call, route: Route): Sent {
  const adapter = adapterOf(call, route)
  const target = targetFor(call, route)
  let request = requestFor(call, route)
  let names: Sanitiser | null = null
  let upstream: UpstreamRequest
  if (!passes(call, adapter)) {
    const plain = inPlainWords(call, adapter, request, target)
    if (plain !== null) {
      request = plain.request
      names = plain.names
    }
    upstream = adapter.encodeRequest(request, target)
  } else if (adapter.protocol === 'anthropic') {
    upstream = forwardMessages(call, adapter as unknown as AnthropicAdapter, request as ChatRequest, target)
  } else if (adapter.protocol === 'gemini') {
    upstream = forwardContents(call, adapter as unknown as GeminiAdapter, request as ChatRequest, target)
  } else if (adapter.protocol === 'openai-responses') {
    upstream = forwardResponses(call, adapter as unknown as ResponsesAdapter, request as ChatRequest, target)
  } else upstream = forwardRequest(adapter, call.raw, call.parsed, request, target)
  const headers = { ...upstream.headers, ...route.headers }
  // Both sides may ask for betas; one list must not hide the other.
  const betas = upstream.headers['anthropic-beta']
  if (betas !== undefined && headers['anthropic-beta'] !== betas) headers['anthropic-beta'] += `,${betas}`
  return { request, upstream: { ...upstream, headers }, names }
}

/** What of Anthropic's protocol the adapter does not know, said otherwise; null = nothing. */
function inPlainWords(
  call: Call,
  adapter: AnyAdapter,
  request: Record<string, unknown>,
  target: Target,
): Pick<Sent, 'request' | 'names'> | null {
  if (call.responses !== null) {
    if (adapter.protocol === 'openai-responses') return null
    return { request: plainResponses(request as Parameters<typeof plainResponses>[0], adapter.protocol, target), names: null }
  }
  // Embeddings have nothing that must be said otherwise.
  if (request['gemini'] !== undefined && adapter.mode !== 'embedding' && adapter.takesGemini !== true)
    return plainGemini(request as ChatRequest, adapter.takesAnthropic === true)
  if (request['anthropic'] === undefined || adapter.takesAnthropic === true) return null
  return plainChat(request as ChatRequest)
}

/** What is said to the provider where one request does not do; null = one does. `now`: Unix milliseconds. */
export function conversationOf(
  call: Call,
  route: Route,
  now: number,
): { sent: Sent; conversation: Conversation<unknown> } | null {
  const adapter = adapterOf(call, route)
  if (adapter.converse === undefined) return null
  const sent = unsent(call, route)
  const { request } = sent
  const context = { id: `chatcmpl-${call.message.callId}`, created: Math.floor(now / 1000), model: route.model, request }
  const conversation = adapter.converse(request, targetFor(call, route), context)
  if (conversation === null) return null
  return { sent, conversation }
}

/** What whoever gets no bytes of one request is asked. */
export function unsent(call: Call, route: Route): Sent {
  const asked = requestFor(call, route)
  const { request, names } = inPlainWords(call, adapterOf(call, route), asked, route.target) ?? { request: asked, names: null }
  return { request, upstream: NOT_SENT, names }
}

/** In the place of the one request there is not. */
const NOT_SENT: UpstreamRequest = { method: 'POST', url: '', headers: {}, body: '' }

/** The canonical request as this deployment gets it. Parameters of the deployment stand in where the client sent none. */
export function requestFor(call: Call, route: Route): Record<string, unknown> {
  const request = freshRequest(call, route)
  if (call.resume === null) return request
  return continueRequest(request as ChatRequest, call.resume.text, prefillOf(call, route))
}

/** How this deployment takes the beginning of an answer; null = it must be told to go on. */
export function prefillOf(call: Call, route: Route): Prefill | null {
  return route.provider.prefill?.(route.target, freshRequest(call, route) as ChatRequest) ?? null
}

function freshRequest(call: Call, route: Route): Record<string, unknown> {
  const { defaults, extraBody } = route.deployment
  if (isEmpty(defaults) && isEmpty(extraBody)) return call.request
  return { ...defaults, ...call.request, ...extraBody }
}

/** What the adapter may know, with the client headers some providers read. */
function targetFor(call: Call, route: Route): Target {
  const { headers } = call.message
  const beta = headers['anthropic-beta']
  const version = headers['anthropic-version']
  if (beta === undefined && version === undefined) return route.target
  return { ...route.target, clientHeaders: headers }
}

function isEmpty(value: object): boolean {
  for (const _ in value) return false
  return true
}
