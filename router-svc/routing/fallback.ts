import type { FallbackLists, FallbackTarget } from '../../proto/routing.ts'
import { entryOf } from '../../shared/entry.ts'
import { type GatewayError, withMessage } from '../../shared/errors.ts'

/** What the request says about fallbacks (surface reference §1.2). */
export interface RequestFallbacks {
  /** Its own list, which holds for every kind of error; null = the configured lists. */
  own: readonly FallbackTarget[] | null
  contextWindow: readonly FallbackTarget[] | null
  contentPolicy: readonly FallbackTarget[] | null
  disabled: boolean
  /** Only on errors of these statuses; absent = on all. */
  onStatus?: readonly number[]
}

/**
 * Where a call goes on when `group` failed with `error` (surface reference §5.7). Pure. An own list of the request holds for every error;
 * else the list for the kind of error, and the general one where that kind has no lists at all; a group without a list of its own under its
 * name, its name without the provider, or the name the client `asked` for (an alias), uses `*`. Behind a wildcard the name asked for comes first.
 */
export function fallbacksFor(
  error: GatewayError,
  group: string,
  lists: FallbackLists,
  request: RequestFallbacks,
  asked = group,
): readonly FallbackTarget[] {
  if (request.disabled || !mayFallBack(error)) return NONE
  if (request.onStatus !== undefined && !request.onStatus.includes(error.status)) return NONE
  if (error.code === 'context_window_exceeded') {
    if (request.contextWindow !== null) return request.contextWindow
    if (request.own === null && lists.contextWindow !== null) return listOf(lists.contextWindow, group, asked)
  }
  if (error.code === 'content_policy') {
    if (request.contentPolicy !== null) return request.contentPolicy
    if (request.own === null && lists.contentPolicy !== null) return listOf(lists.contentPolicy, group, asked)
  }
  return request.own ?? listOf(lists.general, group, asked)
}

/** Refusals that hold wherever the call goes: who the caller is, what they may spend, what they sent to us. */
const FINAL = new Set<GatewayError['code']>([
  'budget_exceeded',
  'run_cap_reached',
  'rate_limited',
  'counters_away',
  'model_denied',
  'unknown_model',
  'unsafe_parameter',
  'blocked_customer',
  'invalid_json',
  'bad_request',
  'idempotency_conflict',
  'cancelled',
  'deadline_exceeded',
  'internal',
])

export function mayFallBack(error: GatewayError): boolean {
  return !FINAL.has(error.code)
}

function listOf(
  lists: Readonly<Record<string, readonly FallbackTarget[]>>,
  group: string,
  asked: string,
): readonly FallbackTarget[] {
  const names = group.includes('*') ? [asked, bare(asked), group, '*'] : [group, bare(group), asked, '*']
  for (const name of names) {
    const list = entryOf(lists, name)
    if (list !== undefined) return list
  }
  return NONE
}

function bare(name: string): string {
  return name.slice(name.indexOf('/') + 1)
}

const NONE: readonly FallbackTarget[] = []

/** The error of the call when no fallback helped: the first group's, with what was tried in its text (surface reference §6.2). */
export function withHistory(
  error: GatewayError,
  history: { group: string; fallbacks: readonly string[]; retried: number; maxRetries: number; last: GatewayError | null },
): GatewayError {
  // A sentence that ends by itself gets no second full stop.
  let text = error.message.replace(/\.$/, '')
  if (history.retried > 0) text += ` LiteLLM Retried: ${history.retried} times, LiteLLM Max Retries: ${history.maxRetries}`
  const list = history.fallbacks.length === 0 ? 'None' : `[${history.fallbacks.map((name) => `'${name}'`).join(', ')}]`
  text += `. Received Model Group=${history.group}\nAvailable Model Group Fallbacks=${list}`
  if (history.last !== null) text += `\nError doing the fallback: ${history.last.message}`
  return withMessage(error, text)
}
