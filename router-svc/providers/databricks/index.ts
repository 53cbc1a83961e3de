import type { Mode } from '../../../proto/endpoints.ts'
import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import { chatVariant, completionVariant, embeddingVariant, madeProvider, type Variant } from '../openai-variant.ts'
import type { Adapter, Provider, Target } from '../provider.ts'
import { plainAnswer, readable } from './content.ts'
import { decodeError, errorIn } from './errors.ts'
import { refineChat } from './request.ts'

/** Databricks's model serving: OpenAI's protocol, but for the thinking of its models and a few parameters. */
export function databricks(name: string, row: ProviderRow): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  const variant: Variant = {
    row,
    readError,
    errorIn: (source) => errorIn(name, source),
    url: addressOf,
    refine(body, target, mode, request) {
      if (mode === 'chat') refineChat(body, target, request as unknown as ChatRequest)
    },
  }
  return {
    ...madeProvider(name, row, 'databricks', readError),
    chat: withContentLists(chatVariant(variant)),
    completion: completionVariant(variant),
    embedding: embeddingVariant(variant),
  }
}

const ROUTES: Partial<Readonly<Record<Mode, string>>> = {
  chat: '/chat/completions',
  completion: '/completions',
  embedding: '/embeddings',
}

/** Operators give the workspace, its serving endpoints, or the whole address of one endpoint. */
function addressOf({ base }: Target, mode: Mode): string {
  if (base.endsWith('/invocations')) return base
  const root = new URL(base).pathname === '/' ? `${base.replace(/\/+$/, '')}/serving-endpoints` : base
  return `${root}${ROUTES[mode]}`
}

function withContentLists(plain: Adapter<ChatRequest, ChatResponse, ChatChunk>): Adapter<ChatRequest, ChatResponse, ChatChunk> {
  const { decodeStream } = plain
  return {
    ...plain,
    decodeResponse: (body, headers, context) => plain.decodeResponse(plainAnswer(body), headers, context),
    ...(decodeStream === undefined ? {} : { decodeStream: (context) => readable(decodeStream(context)) }),
  }
}
