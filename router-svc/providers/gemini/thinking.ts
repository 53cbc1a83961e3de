import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import type { Refusals } from '../refusals.ts'
import type { Traits } from './models.ts'
import { count, type Fields, isFields, text } from './wire.ts'

/** Tokens of thinking for an effort, on models that take a budget; LiteLLM's up to `high`. */
const BUDGETS: Readonly<Record<string, number>> = { low: 1024, medium: 2048, high: 4096, xhigh: 8192, max: 16_384 }

/** `thinkingConfig` for `thinking` and `reasoning_effort`, or undefined. Throws `bad_request` for an effort that is none. */
export function encodeThinking(request: ChatRequest, traits: Traits, refusals: Refusals): Fields | undefined {
  const effort = effortOf(request)
  const thinking = isFields(request.thinking) ? request.thinking : null
  if (thinking === null && effort === null) return undefined
  const off = thinking === null ? effort === 'none' : thinking['type'] === 'disabled'
  if (traits.thinking === 'none') {
    if (!off) refusals.refuse(thinking === null ? 'reasoning_effort' : 'thinking')
    return undefined
  }
  if (off) return { ...(traits.thinking === 'level' ? level('minimal', traits) : budget(0, traits)), includeThoughts: false }
  if (thinking !== null) {
    const tokens = thinking['budget_tokens']
    if (typeof tokens === 'number') return { thinkingBudget: tokens, includeThoughts: tokens !== 0 }
    // Adaptive: the model's own measure.
    if (effort === null || effort === 'none') return { includeThoughts: true }
  }
  const wished = effort ?? 'medium'
  if (traits.thinking === 'level') return { ...level(wished, traits), includeThoughts: true }
  return {
    ...budget(wished === 'minimal' ? traits.minimalBudget : count(entryOf(BUDGETS, wished)), traits),
    includeThoughts: true,
  }
}

function budget(tokens: number, traits: Traits): Fields {
  return { thinkingBudget: Math.max(tokens, traits.leastBudget) }
}

function level(effort: string, traits: Traits): Fields {
  switch (effort) {
    case 'minimal':
      return { thinkingLevel: traits.pro ? 'LOW' : 'MINIMAL' }
    case 'low':
      return { thinkingLevel: 'LOW' }
    case 'medium':
      return { thinkingLevel: traits.mediumLevel ? 'MEDIUM' : 'HIGH' }
    default:
      return { thinkingLevel: 'HIGH' }
  }
}

function effortOf(request: ChatRequest): string | null {
  const given: unknown = request.reasoning_effort
  if (given === undefined || given === null) return null
  // The Responses form, `{effort, summary}`, is common in chat requests too.
  const effort = isFields(given) ? text(given['effort']) : text(given)
  if (effort === 'none' || effort === 'disable') return 'none'
  if (effort === 'minimal' || entryOf(BUDGETS, effort) !== undefined) return effort
  throw new GatewayError(
    'bad_request',
    `litellm.BadRequestError: reasoning_effort must be one of none, minimal, ${Object.keys(BUDGETS).join(', ')}.`,
    { param: 'reasoning_effort' },
  )
}
