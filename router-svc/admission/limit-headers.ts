import type { Limit } from '../../proto/limits.ts'
import type { ScopeState } from '../../shared/counters/counters.ts'
import { formatDollars } from '../../shared/money.ts'
import { descriptorOf } from './refusal.ts'
import type { Ticket } from './ticket.ts'

/**
 * What is left of a call's limits, as headers (surface reference §3.5, §3.6): per descriptor, and in OpenAI's names for the key's own. `key-spend`
 * is what the ledger and the running calls say, so it is exact where the key has a budget.
 */
export function limitHeaders(headers: Record<string, string>, ticket: Ticket, modelGroup: string): void {
  ticket.limits.forEach((limit, index) => {
    const state = ticket.states[index]
    if (state === undefined) return
    const { descriptor } = descriptorOf(limit)
    rateHeaders(headers, limit, state, `x-ratelimit-${descriptor}-`)
    if (limit.kind !== 'key') return
    if (limit.model === undefined) openaiHeaders(headers, limit, state)
    else modelHeaders(headers, limit, state, modelGroup)
  })
}

function rateHeaders(headers: Record<string, string>, limit: Limit, state: ScopeState, prefix: string): void {
  for (const [kind, name] of KINDS) {
    const most = limit[kind]
    if (most === undefined) continue
    headers[`${prefix}limit-${name}`] = String(most)
    headers[`${prefix}remaining-${name}`] = String(Math.max(0, most - state[kind]))
  }
}

const KINDS = [
  ['requests', 'requests'],
  ['tokens', 'tokens'],
  ['parallel', 'max_parallel_requests'],
] as const

function openaiHeaders(headers: Record<string, string>, limit: Limit, state: ScopeState): void {
  for (const kind of ['requests', 'tokens'] as const) {
    const most = limit[kind]
    if (most === undefined) continue
    headers[`x-ratelimit-limit-${kind}`] = String(most)
    headers[`x-ratelimit-remaining-${kind}`] = String(Math.max(0, most - state[kind]))
    headers[`x-ratelimit-reset-${kind}`] = `${Math.ceil((kind === 'requests' ? state.requestsReset : state.tokensReset) / 1000)}s`
  }
}

/** `/` and `:` in a group's name are replaced, as in LiteLLM. */
function modelHeaders(headers: Record<string, string>, limit: Limit, state: ScopeState, modelGroup: string): void {
  const group = modelGroup.replace(/[/:]/g, '-').replace(/[^\x21-\x7e]/g, '?')
  for (const kind of ['requests', 'tokens'] as const) {
    const most = limit[kind]
    if (most !== undefined) headers[`x-litellm-key-remaining-${kind}-${group}`] = String(Math.max(0, most - state[kind]))
  }
}

/** The key's spend with this call, nano-dollars as dollars: of the counters where they know it, else as the identity was resolved. */
export function keySpend(ticket: Ticket | null, known: number, cost: number): string {
  const index = ticket?.limits.findIndex(({ kind, model }) => kind === 'key' && model === undefined) ?? -1
  const spent = index < 0 ? undefined : ticket?.states[index]?.spent
  return formatDollars(Math.max(spent ?? 0, known) + cost)
}
