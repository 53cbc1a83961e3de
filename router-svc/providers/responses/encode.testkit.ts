import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import type { Fields } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import type { Adapter, Target } from '../provider.ts'
import { responsesChat } from './index.ts'

export const ADAPTER = responsesChat(
  { protocol: 'openai', base: null, keys: [], unsupported: ['thinking'] },
  (status, headers, body) => decodeError('openai', status, headers, body),
)

export function target(changes: Partial<Target> = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: 'openai',
    model: 'gpt-5-pro',
    base: 'https://api.openai.com/v1',
    ...changes,
  }
}

/** What an adapter sends for a request; `messages` may be left out where they do not matter. */
export function encodeWith(
  adapter: Adapter<ChatRequest, ChatResponse, ChatChunk>,
  request: Partial<ChatRequest>,
  changes: Partial<Target> = {},
): { url: string; body: Fields } {
  const canonical: ChatRequest = { model: 'group', messages: [{ role: 'user', content: 'Hi' }], ...request }
  const { url, body } = adapter.encodeRequest(canonical, target(changes))
  return { url, body: JSON.parse(body as string) as Fields }
}

/** The body sent for a request. */
export function encode(request: Partial<ChatRequest>, changes: Partial<Target> = {}): Fields {
  return encodeWith(ADAPTER, request, changes).body
}
