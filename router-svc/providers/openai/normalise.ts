import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { FinishReason, Usage } from '../../canonical/chat.ts'
import { type Fields, isFields } from '../json.ts'
import { readUsage } from './usage.ts'

/** Other vendors' words for OpenAI's reasons. `function_call` stays: it is the right word for the deprecated `functions`. */
const FINISH: Readonly<Record<string, FinishReason>> = {
  eos: 'stop',
  eos_token: 'stop',
  end_turn: 'stop',
  stop_sequence: 'stop',
  complete: 'stop',
  max_tokens: 'length',
  model_length: 'length',
  token_limit: 'length',
  tool_use: 'tool_calls',
  tool_call: 'tool_calls',
  sensitive: 'content_filter',
  safety: 'content_filter',
  content_filtered: 'content_filter',
}

/** Not an end but a failure in the middle: DeepSeek's, Z.AI's. */
const FAILURES: ReadonlySet<string> = new Set(['insufficient_system_resource', 'network_error'])

/** Canonical finish reason; null while there is none. An answer that called tools did not just stop, whatever its server says. Throws `provider_unavailable`. */
export function finishReason(raw: unknown, calledTools: boolean): FinishReason | null {
  if (typeof raw !== 'string' || raw === '') return null
  if (FAILURES.has(raw)) throw new GatewayError('provider_unavailable', `The answer broke off: ${raw}.`)
  const reason = entryOf(FINISH, raw.toLowerCase()) ?? raw
  return reason === 'stop' && calledTools ? 'tool_calls' : reason
}

/** Usage from wherever it is: beside the choices, in Groq's `x_groq`, inside a choice (Moonshot). */
export function usageIn(answer: Fields, row: ProviderRow): Usage | null {
  let usage = readUsage(answer['usage'])
  if (usage === null && isFields(answer['x_groq'])) usage = readUsage(answer['x_groq']['usage'])
  if (usage === null && Array.isArray(answer['choices']))
    usage = readUsage((answer['choices'][0] as Fields | undefined)?.['usage'])
  if (usage === null || !row.reasoningApart) return usage
  const reasoning = usage.completion_tokens_details?.reasoning_tokens ?? 0
  // The total tells: with reasoning inside the completion it would be smaller.
  if (reasoning === 0 || usage.total_tokens < usage.prompt_tokens + usage.completion_tokens + reasoning) return usage
  const completion = usage.completion_tokens + reasoning
  return { ...usage, completion_tokens: completion, total_tokens: usage.prompt_tokens + completion }
}

/**
 * Content as one string: a list of parts (Mistral's reasoning models) is joined, its thinking kept apart.
 */
export function contentOf(content: unknown): { text: string | null; reasoning: string } {
  if (typeof content === 'string') return { text: content, reasoning: '' }
  if (!Array.isArray(content)) return { text: null, reasoning: '' }
  let text = ''
  let reasoning = ''
  for (const part of content as unknown[]) {
    if (typeof part === 'string') text += part
    else if (!isFields(part)) continue
    else if (typeof part['text'] === 'string') text += part['text']
    else if (part['type'] === 'thinking') reasoning += contentOf(part['thinking']).text ?? ''
  }
  return { text, reasoning }
}

/**
 * Moves thinking to `reasoning_content` and content lists to a string, in place. `fields` is a message or a delta.
 */
export function settleText(fields: Fields): void {
  if (Array.isArray(fields['content'])) {
    const { text, reasoning } = contentOf(fields['content'])
    fields['content'] = text
    if (reasoning !== '' && typeof fields['reasoning_content'] !== 'string') fields['reasoning_content'] = reasoning
  }
  if ('reasoning' in fields) {
    const { reasoning } = fields
    if (typeof reasoning === 'string' && reasoning !== '' && !fields['reasoning_content']) fields['reasoning_content'] = reasoning
    delete fields['reasoning']
  }
  if (fields['reasoning_content'] === null) delete fields['reasoning_content']
}

/** Tool call arguments as the string they must be: objects are written out, nothing becomes `{}` when `whole`. */
export function argumentsOf(value: unknown, whole: boolean): string {
  if (typeof value === 'string') return value === '' && whole ? '{}' : value
  return value === null || value === undefined ? (whole ? '{}' : '') : JSON.stringify(value)
}
