import { GatewayError } from '../../../shared/errors.ts'
import type { ChatResponse, ResponseMessage } from '../../canonical/chat.ts'
import type { CompletionResponse } from '../../canonical/completion.ts'
import type { EmbeddingResponse } from '../../canonical/embedding.ts'
import { vectorAs } from '../openai/response.ts'
import type { DecodeContext } from '../provider.ts'
import { createdAt, finishReason, logprobsOf, ownFields, toolCalls, usageOf } from './answer.ts'
import { ThinkTags } from './think-tags.ts'
import { type Fields, isFields, text } from './wire.ts'

/** A whole answer of `/api/chat`. Throws `provider_malformed`, `provider_truncated` when it says it is not done. */
export function decodeChat(answer: Fields, context: DecodeContext): ChatResponse {
  const source = answer['message']
  if (!isFields(source)) throw new GatewayError('provider_malformed', 'The answer holds no message.')
  if (answer['done'] === false) throw new GatewayError('provider_truncated')
  const calls = toolCalls(source, 0, context)
  const { content, thinking } = told(text(source['content']))
  const message: ResponseMessage = { role: 'assistant', content: content === '' && calls.length > 0 ? null : content }
  if (calls.length > 0) message.tool_calls = calls
  const reasoning = text(source['thinking']) + thinking
  if (reasoning !== '') message.reasoning_content = reasoning
  const fields = ownFields(answer)
  if (Object.keys(fields).length > 0) message.provider_specific_fields = fields
  const usage = usageOf(answer)
  return {
    id: context.id,
    object: 'chat.completion',
    created: createdAt(answer) ?? context.created,
    model: text(answer['model'], context.model),
    choices: [{ index: 0, message, finish_reason: finishReason(answer['done_reason'], calls.length), ...logprobsOf(answer) }],
    ...(usage === null ? {} : { usage }),
  }
}

/** A whole answer of `/api/generate`. */
export function decodeCompletion(answer: Fields, context: DecodeContext): CompletionResponse {
  if (typeof answer['response'] !== 'string') throw new GatewayError('provider_malformed', 'The answer holds no response.')
  if (answer['done'] === false) throw new GatewayError('provider_truncated')
  const thinking = text(answer['thinking'])
  const fields = ownFields(answer)
  const usage = usageOf(answer)
  return {
    id: context.id,
    object: 'text_completion',
    created: createdAt(answer) ?? context.created,
    model: text(answer['model'], context.model),
    choices: [
      {
        text: answer['response'],
        index: 0,
        finish_reason: finishReason(answer['done_reason'], 0),
        ...(thinking === '' ? {} : { reasoning_content: thinking }),
        ...(Object.keys(fields).length > 0 ? { provider_specific_fields: fields } : {}),
      },
    ],
    ...(usage === null ? {} : { usage }),
  }
}

/** An answer of `/api/embed`, or of the older `/api/embeddings` with its one vector. */
export function decodeEmbedding(answer: Fields, context: DecodeContext): EmbeddingResponse {
  const vectors = answer['embeddings'] ?? (Array.isArray(answer['embedding']) ? [answer['embedding']] : undefined)
  if (!Array.isArray(vectors)) throw new GatewayError('provider_malformed', 'The answer holds no embeddings.')
  const base64 = context.request['encoding_format'] === 'base64'
  const prompt = typeof answer['prompt_eval_count'] === 'number' ? answer['prompt_eval_count'] : 0
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({ object: 'embedding', index, embedding: vectorAs(vector, base64) })),
    model: text(answer['model'], context.model),
    usage: { prompt_tokens: prompt, completion_tokens: 0, total_tokens: prompt },
  }
}

function told(content: string): { content: string; thinking: string } {
  const tags = new ThinkTags()
  const begun = tags.push(content)
  const rest = tags.end()
  return { content: begun.content + rest.content, thinking: begun.thinking + rest.thinking }
}
