import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import type { Adapter, Target, UpstreamRequest } from '../provider.ts'
import type { UrlOf } from './request.ts'

/**
 * The Responses API of a provider for clients that speak it: their bytes pass. Calls that something looks into go through the chat that
 * `chat` makes of them.
 */
export interface ResponsesAdapter extends Adapter<ChatRequest, ChatResponse, ChatChunk> {
  readonly protocol: 'openai-responses'
  /** Keeps no responses, or not for sure: whoever wants to go on from one must send it whole. */
  readonly stateless: boolean
  /** The model speaks nothing else, wherever it is served. */
  readonly sole?: true
  /** Where responses are. */
  url: UrlOf
  wrap(target: Target, body: string | Uint8Array): UpstreamRequest
}

export function nativeResponses(
  chat: Adapter<ChatRequest, ChatResponse, ChatChunk>,
  url: UrlOf,
  stateless: boolean,
  constant: Readonly<Record<string, string>> = {},
): ResponsesAdapter {
  const headers = { 'content-type': 'application/json', ...constant }
  return {
    ...chat,
    protocol: 'openai-responses',
    stateless,
    url,
    wrap: (target, body) => ({ method: 'POST', url: url(target), headers: { ...headers }, body }),
  }
}
