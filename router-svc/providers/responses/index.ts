import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import { completionOverChat } from '../completion-from-chat.ts'
import type { ErrorReader } from '../openai/response.ts'
import type { Adapter, Provider } from '../provider.ts'
import { speaksOnlyResponses, withoutPrefix } from './models.ts'
import { nativeResponses } from './native.ts'
import { requestEncoder, type UrlOf } from './request.ts'
import { decodeResponse } from './response.ts'
import { createStream } from './stream.ts'

/** Chats answered through OpenAI's Responses API. It names no protocol: chats must be translated, whoever sends them. */
export function responsesChat(
  row: ProviderRow,
  readError: ErrorReader,
  urlOf: UrlOf = urlsOf(row),
): Adapter<ChatRequest, ChatResponse, ChatChunk> {
  return {
    mode: 'chat',
    encodeRequest: requestEncoder(row, urlOf),
    decodeResponse: (body, headers, context) => decodeResponse(body, headers, context, readError),
    decodeStream: (context) => createStream(context, readError),
  }
}

/**
 * A provider that serves some of its models through the Responses API: those that are asked for so (`responses/` before the model's name,
 * or `mode: responses` in `model_info`), and of OpenAI's own (`reasoningModels`) those that speak nothing else. A deployment with
 * `use_chat_completions_api` never does.
 */
export function withResponses(provider: Provider, row: ProviderRow, urlOf?: UrlOf): Provider {
  if (provider.chat === undefined) return provider
  const chat = responsesChat(row, provider.decodeError, urlOf)
  const responses = nativeResponses(chat, urlOf ?? urlsOf(row), row.responses !== 'kept', row.headers)
  const { prefill: _prefill, ...rest } = provider
  const throughResponses: Provider = {
    ...rest,
    chat,
    responses: { ...responses, sole: true },
    completion: completionOverChat(chat),
  }
  return {
    ...provider,
    ...(row.responses === undefined ? {} : { responses }),
    serve(asked, { baseModel, settings, info }) {
      const named = withoutPrefix(asked)
      const model = named ?? asked
      const only = row.reasoningModels === true && speaksOnlyResponses(baseModel ?? model)
      const chosen = settings['use_chat_completions_api'] !== true && (named !== null || only || info['mode'] === 'responses')
      if (chosen) return { provider: throughResponses, model }
      return provider.serve?.(model, { baseModel, settings, info }) ?? { provider: null, model }
    },
  }
}

/** Operators give a base with or without the version, some the address of the chat. */
function urlsOf({ version = '' }: ProviderRow): UrlOf {
  return ({ base: given }) => {
    const base = given.replace(/\/(?:chat\/completions|responses)$/, '')
    return `${base}${base.endsWith(version) ? '' : version}/responses`
  }
}
