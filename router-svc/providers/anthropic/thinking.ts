import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest, Message } from '../../canonical/chat.ts'
import type { Refusals } from '../refusals.ts'
import type { Traits } from './models.ts'
import { type Fields, isFields, text } from './wire.ts'

export interface Thinking {
  thinking?: Fields
  /** For `output_config.effort`. */
  effort?: string
}

/** Tokens of thinking for an effort, on models that take a budget; LiteLLM's up to `high`. */
const BUDGETS: Readonly<Record<string, number>> = { minimal: 1024, low: 1024, medium: 2048, high: 4096, xhigh: 8192, max: 16_384 }
/** The API refuses less. */
const LEAST_BUDGET = 1024

export interface Circumstances {
  /** `max_tokens` that will be sent. */
  maxTokens: number
  /** The client demands a tool call; with a budget, the API refuses that. */
  forcedTool: boolean
  /** The operator lets the gateway change what the API would refuse. */
  repair: boolean
}

/**
 * `thinking` and `reasoning_effort` in the form the model takes. An explicit `thinking` is the client's word and goes out even where the
 * API will refuse it; an effort is a wish, given up where the rest of the request rules thinking out.
 */
export function encodeThinking(request: ChatRequest, traits: Traits, circumstances: Circumstances, refusals: Refusals): Thinking {
  const effort = effortOf(request)
  if (isFields(request.thinking)) return explicit(request, request.thinking, effort, traits, circumstances, refusals)
  if (effort === null) return {}
  if (traits.thinking === 'none') {
    if (effort !== 'none') refusals.refuse('reasoning_effort')
    return {}
  }
  if (effort === 'none') return { thinking: { type: 'disabled' } }
  if (traits.thinking !== 'budget') return { thinking: { type: 'adaptive' }, effort: effortFor(effort, traits) }
  const budget = fit(entryOf(BUDGETS, effort) ?? LEAST_BUDGET, circumstances.maxTokens)
  if (budget === null || circumstances.forcedTool || lostThinking(request.messages)) return {}
  return { thinking: { type: 'enabled', budget_tokens: budget } }
}

function explicit(
  request: ChatRequest,
  thinking: Fields,
  effort: string | null,
  traits: Traits,
  circumstances: Circumstances,
  refusals: Refusals,
): Thinking {
  const type = text(thinking['type'])
  if (traits.thinking === 'none') {
    return type !== 'disabled' && refusals.refuse('thinking') ? { thinking } : {}
  }
  const wished = effort !== null && effort !== 'none' && traits.thinking !== 'budget' ? { effort: effortFor(effort, traits) } : {}
  if (type === 'enabled' && traits.thinking === 'adaptive') {
    const { budget_tokens: _budget, ...others } = thinking
    return { thinking: { ...others, type: 'adaptive' }, ...wished }
  }
  if (type === 'adaptive' && traits.thinking === 'budget') {
    const budget = fit(entryOf(BUDGETS, effort ?? 'medium') ?? LEAST_BUDGET, circumstances.maxTokens)
    return budget === null ? {} : { thinking: { ...thinking, type: 'enabled', budget_tokens: budget } }
  }
  if (type === 'enabled' && circumstances.repair && lostThinking(request.messages)) return {}
  return { thinking, ...wished }
}

function effortOf(request: ChatRequest): string | null {
  const given: unknown = request.reasoning_effort
  if (given === undefined || given === null) return null
  // The Responses form, `{effort, summary}`, is common in chat requests too.
  const effort = isFields(given) ? text(given['effort']) : text(given)
  if (effort === 'none' || effort === 'disable') return 'none'
  if (entryOf(BUDGETS, effort) !== undefined) return effort
  throw new GatewayError(
    'bad_request',
    `litellm.BadRequestError: reasoning_effort must be none or one of ${Object.keys(BUDGETS).join(', ')}.`,
    {
      param: 'reasoning_effort',
    },
  )
}

function effortFor(effort: string, traits: Traits): string {
  if (effort === 'minimal') return 'low'
  return effort === 'xhigh' && !traits.xhigh ? 'max' : effort
}

/** The budget that leaves room for an answer inside `maxTokens`; null when there is none. */
function fit(budget: number, maxTokens: number): number | null {
  if (budget < maxTokens) return budget
  return maxTokens > LEAST_BUDGET ? LEAST_BUDGET : null
}

/**
 * Inside a tool loop the API demands the thinking that led to the calls. A client that did not keep it cannot think on: the last
 * assistant message has calls, results follow it, and its thinking blocks are gone.
 */
function lostThinking(messages: readonly Message[]): boolean {
  const last = messages.findLastIndex((message) => message.role === 'assistant')
  const message = messages[last]
  if (message === undefined || !message.tool_calls?.length || messages[last + 1]?.role !== 'tool') return false
  if (message.thinking_blocks?.some((block) => text(block.signature) !== '' || text(block.data) !== '')) return false
  return !(
    Array.isArray(message.content) &&
    message.content.some((part) => part.type === 'thinking' || part.type === 'redacted_thinking')
  )
}
