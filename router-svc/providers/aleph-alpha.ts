import type { ProviderRow } from '../../shared/catalog/providers.ts'
import type { FinishReason } from '../canonical/chat.ts'
import { type Fields, isFields, jsonObject, text } from './json.ts'
import { finishReason } from './openai/normalise.ts'
import { textOf } from './prompt-text.ts'
import type { Provider } from './provider.ts'
import { type Asked, postJson, type Said, textProvider, usageFrom } from './text-protocol.ts'
import { listOfVectors, vectorAdapter } from './vector-protocol.ts'

/** Aleph Alpha's own API (`/complete`, `/semantic_embed`), which continues a prompt. Streams end with a summary of the completion. */
export function alephAlpha(name: string, row: ProviderRow): Provider {
  const provider = textProvider(name, row, {
    request(asked, given, target) {
      const body: Fields = { model: target.model, prompt: promptFor(target.model, asked, name), ...given }
      if (asked.stream) body['stream'] = true
      return postJson(`${target.base}/complete`, body)
    },
    answer(answer) {
      const fields = isFields(answer) ? answer : {}
      const listed = Array.isArray(fields['completions']) ? (fields['completions'] as unknown[]) : []
      const usage = usageOf(fields)
      return listed
        .filter(isFields)
        .map((one) => ({ text: text(one['completion']), finish: finishOf(one['finish_reason']), usage }))
    },
    stream: {
      framing: 'sse',
      read(data): Said {
        const event = jsonObject(data, 'An event of the stream')
        const index = typeof event['index'] === 'number' ? event['index'] : 0
        const summary = event['num_tokens_generated'] !== undefined
        return {
          index,
          text: text(event['completion']),
          finish: summary ? null : finishOf(event['finish_reason']),
          ...(summary ? { usage: usageOf(event), ends: true as const } : {}),
        }
      },
    },
  })
  return {
    ...provider,
    embedding: vectorAdapter(
      name,
      {
        unsupported: [],
        request(texts, { dimensions, ...given }, target) {
          const [first = ''] = texts
          const own = {
            model: target.model,
            representation: 'symmetric',
            ...(dimensions === undefined ? {} : { compress_to_size: dimensions }),
            ...given,
          }
          return texts.length === 1
            ? postJson(`${target.base}/semantic_embed`, { ...own, prompt: first })
            : postJson(`${target.base}/batch_semantic_embed`, { ...own, prompts: texts })
        },
        vectors: (answer) => ({
          vectors: listOfVectors(answer['embeddings'] ?? answer['embedding']),
          promptTokens: answer['num_tokens_prompt_total'],
        }),
      },
      provider.decodeError,
    ),
  }
}

/** Luminous models that follow instructions want them framed; every other model gets the text as it is. */
function promptFor(model: string, { messages, prompt }: Asked, provider: string): string {
  if (!/^luminous-.*-control/.test(model)) return prompt
  const said = (roles: readonly string[]) =>
    messages.flatMap((message, index) => (roles.includes(message.role) ? [textOf(message, index, provider)] : [])).join('\n')
  const instruction = said(['system', 'developer'])
  const input = said(['user', 'tool', 'function'])
  const task = instruction === '' ? `### Instruction:\n${input}` : `### Instruction:\n${instruction}\n\n### Input:\n${input}`
  return `${task}\n\n### Response:${said(['assistant'])}`
}

function finishOf(reason: unknown): FinishReason | null {
  return reason === 'maximum_tokens'
    ? 'length'
    : typeof reason === 'string'
      ? STOPS.has(reason)
        ? 'stop'
        : finishReason(reason, false)
      : null
}

const STOPS = new Set(['end_of_text', 'stop_sequence_reached'])

function usageOf(fields: Fields) {
  return usageFrom(fields['num_tokens_prompt_total'], fields['num_tokens_generated'])
}
