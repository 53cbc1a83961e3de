import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import type { Adapter, Auth, Provider, Target, UpstreamRequest } from '../provider.ts'
import { COUNT } from './count.ts'
import { decodeError } from './errors.ts'
import { traitsOf } from './models.ts'
import { encodeRequest, wrapBody } from './request.ts'
import { decodeResponse } from './response.ts'
import { MessageStream } from './stream.ts'
import type { Fields } from './wire.ts'
import { isFields } from './wire.ts'

/** What this adapter reads of a row of the provider table. */
export interface AnthropicRow {
  /** Without trailing slash; null when the operator must give one. */
  base: string | null
  /** Environment variables of the key, and of the base URL. */
  keys: readonly string[]
  bases?: readonly string[]
  /** Where a compatible service differs. */
  name?: string
  auth?: Auth
}

/** An adapter whose requests may be made from the client's own bytes (router-svc/pass-through-anthropic.ts). */
export interface AnthropicAdapter extends Adapter<ChatRequest, ChatResponse, ChatChunk> {
  wrap(body: Uint8Array, own: Fields, target: Target): UpstreamRequest
}

const CHAT: AnthropicAdapter = {
  mode: 'chat',
  protocol: 'anthropic',
  takesAnthropic: true,
  encodeRequest,
  wrap: wrapBody,
  decodeResponse,
  decodeStream: (context) => new MessageStream(context),
}

/** A provider that speaks Anthropic's Messages protocol. */
export function anthropic(row: AnthropicRow): Provider {
  return {
    name: row.name ?? 'anthropic',
    auth: row.auth ?? { type: 'header', name: 'x-api-key', bearerPrefix: 'sk-ant-oat' },
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    chat: CHAT,
    count_tokens: COUNT,
    prefill: (target, request) => (traitsOf(target.model).prefill && !thinks(request) ? 'native' : null),
    decodeError,
  }
}

/** Whether a request asks for thinking in any of its ways: the API takes no beginning of an answer then. */
function thinks(request: ChatRequest): boolean {
  const { reasoning_effort: effort, anthropic: own } = request
  if (typeof effort === 'string' && effort !== 'none' && effort !== 'disable') return true
  return [request.thinking, own?.['thinking']].some((thinking) => isFields(thinking) && thinking['type'] !== 'disabled')
}
