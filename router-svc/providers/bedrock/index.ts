import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import type { Adapter, Provider } from '../provider.ts'
import { decodeError } from './errors.ts'
import { traitsOf } from './models.ts'
import { encodeRequest } from './request.ts'
import { decodeResponse } from './response.ts'
import { ConverseStream } from './stream.ts'
import { isFields } from './wire.ts'

/** What this adapter reads of a row of the provider table. */
export interface BedrockRow {
  /** Environment variables of the API key. */
  keys: readonly string[]
}

const CHAT: Adapter<ChatRequest, ChatResponse, ChatChunk> = {
  mode: 'chat',
  framing: 'aws',
  encodeRequest,
  decodeResponse,
  decodeStream: (context) => new ConverseStream(context),
}

/** AWS Bedrock through Converse and ConverseStream; its base depends on the region, which the credential knows. */
export function bedrock(name: string, row: BedrockRow): Provider {
  return {
    name,
    auth: { type: 'made', kind: 'aws-bedrock' },
    base: null,
    keyNames: row.keys,
    chat: CHAT,
    prefill: (target, request) => (traitsOf(target.model).claude?.prefill === true && !thinks(request) ? 'native' : null),
    decodeError,
  }
}

/** Whether a request asks for thinking: Claude takes no beginning of an answer then. */
function thinks({ reasoning_effort: effort, thinking }: ChatRequest): boolean {
  if (typeof effort === 'string' && effort !== 'none' && effort !== 'disable') return true
  return isFields(thinking) && thinking['type'] !== 'disabled'
}
