import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import { completionOverChat } from '../completion-from-chat.ts'
import type { Adapter, Provider } from '../provider.ts'
import { CLAUDE } from './claude.ts'
import { EMBEDDING } from './embedding.ts'
import { decodeError } from './errors.ts'
import { IMAGES } from './images.ts'
import { INVOKED_NOVA, invokedOpenai } from './invoked-chat.ts'
import { invokedText } from './invoked-text.ts'
import { type Invoked, invokedAs, traitsFor, traitsOf } from './models.ts'
import { encodeRequest } from './request.ts'
import { RERANK } from './rerank.ts'
import { decodeResponse } from './response.ts'
import { ConverseStream } from './stream.ts'
import { isFields, text } from './wire.ts'

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

/**
 * AWS Bedrock: chats through Converse, or through InvokeModel where the model's name asks for it or the client's protocol is the maker's own; its
 * base depends on the region, which the credential knows.
 */
export function bedrock(name: string, row: BedrockRow): Provider {
  const provider: Provider = {
    name,
    auth: { type: 'made', kind: 'aws-bedrock' },
    base: null,
    keyNames: row.keys,
    chat: CHAT,
    embedding: EMBEDDING,
    ...IMAGES,
    rerank: RERANK,
    prefill: (target, request) => (traitsFor(target).claude?.prefill === true && !thinks(request) ? 'native' : null),
    decodeError,
  }
  const claude: Provider = { ...provider, chat: CLAUDE, completion: completionOverChat(CLAUDE) }
  return {
    ...provider,
    serve: (model, { baseModel, settings }) => {
      const names = `${model} ${baseModel ?? ''} ${text(settings['base_model'])}`
      if (traitsOf(names).claude !== null) return { provider: claude, model }
      const kind = invokedAs(model, names)
      return { provider: kind === null ? null : invoked(provider, kind), model }
    },
  }
}

/** The provider as it serves a model through InvokeModel. */
function invoked({ prefill: _none, ...provider }: Provider, kind: Invoked): Provider {
  if (kind !== 'nova' && kind !== 'openai') return { ...provider, ...invokedText(provider.name, kind) }
  const chat = kind === 'nova' ? INVOKED_NOVA : invokedOpenai(provider.name)
  return { ...provider, chat, completion: completionOverChat(chat) }
}

/** Whether a request asks for thinking: Claude takes no beginning of an answer then. */
function thinks({ reasoning_effort: effort, thinking: said, anthropic }: ChatRequest): boolean {
  const thinking = said ?? anthropic?.['thinking']
  if (typeof effort === 'string' && effort !== 'none' && effort !== 'disable') return true
  return isFields(thinking) && thinking['type'] !== 'disabled'
}
