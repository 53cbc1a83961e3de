import type { Limit } from '../../proto/limits.ts'
import type { LimitType, ScopeState } from '../../shared/counters/counters.ts'
import { GatewayError } from '../../shared/errors.ts'
import { formatDollars } from '../../shared/money.ts'

/** Why a call was not admitted. */
export interface Refused {
  limit: Limit
  /** The budget in force, nano-dollars; null where another limit refused. */
  budget: number | null
  type: LimitType
  state: ScopeState
  /** What the call would have held, nano-dollars, and reserved. */
  hold: number
  tokens: number
}

/** Milliseconds an edge may repeat a refusal of a spent budget by itself: short, because a budget may be raised at any time. */
const REPEAT_BUDGET = 5_000
/**
 * Milliseconds after which running calls may have given something back: tokens reserved and not used, a request that never ran. What a scope
 * counts does not tell those from what is used for good, so a refusal is not repeated for longer, however far off the reset.
 */
const SOON = 1_000

/** A refusal as LiteLLM's clients know it (surface reference §3.2, §3.5). `now`: Unix milliseconds. Pure. */
export function refusal(refused: Refused, keyAlias: string | null, now: number): GatewayError {
  return refused.type === 'budget' ? budgetRefusal(refused, keyAlias, now) : rateRefusal(refused, now)
}

/** How long an edge may give the same refusal to the same key by itself, milliseconds; 0 where another call of it may pass. */
export function repeatableFor({ limit, budget, type, state }: Refused, now: number): number {
  // A customer, a tag or a model is named by the body, which the edge does not read.
  const ofTheKey = limit.model === undefined && !['customer', 'tag', 'run', 'provider', 'deployment'].includes(limit.kind)
  if (!ofTheKey) return 0
  if (type === 'requests') return Math.min(SOON, state.requestsReset)
  if (type === 'tokens') return state.tokens >= (limit.tokens ?? 0) ? Math.min(SOON, state.tokensReset) : 0
  if (type !== 'budget' || state.spent < (budget ?? 0)) return 0
  return Math.max(0, Math.min(REPEAT_BUDGET, (limit.resetAt ?? Number.POSITIVE_INFINITY) - now))
}

function budgetRefusal(refused: Refused, keyAlias: string | null, now: number): GatewayError {
  const { limit, state, hold } = refused
  const budget = refused.budget ?? 0
  const spentUp = state.spent >= budget
  const running = state.held === 0 ? '' : ` and ${formatDollars(state.held)} held by running calls`
  const rest = spentUp ? '' : ` This call may cost ${formatDollars(hold)}; spent are ${formatDollars(state.spent)}${running}.`
  const text = `${budgetText(limit, formatDollars(state.spent), formatDollars(budget), keyAlias)}${rest}`
  const headers: Record<string, string> = { 'x-should-retry': 'false', rate_limit_type: 'budget' }
  const details: { headers: Record<string, string>; retryAfter?: number } = { headers }
  if (!spentUp) {
    details.retryAfter = SOON
    delete headers['x-should-retry']
  } else if (limit.resetAt !== null && limit.resetAt > now) {
    details.retryAfter = limit.resetAt - now
    headers['reset_at'] = utc(limit.resetAt)
  }
  return new GatewayError(codeOf(limit), text, details)
}

/** What is short of a provider or a deployment is not the caller's budget: others may serve the call. */
function codeOf({ kind }: Limit): 'run_cap_reached' | 'no_deployment' | 'budget_exceeded' {
  if (kind === 'run') return 'run_cap_reached'
  return kind === 'provider' || kind === 'deployment' ? 'no_deployment' : 'budget_exceeded'
}

/** The sentence by which clients recognise whose budget it was. */
function budgetText(limit: Limit, spent: string, budget: string, keyAlias: string | null): string {
  const costs = `Current cost: ${spent}, Max budget: ${budget}`
  if (limit.model !== undefined) {
    const whose =
      limit.kind === 'key'
        ? `LiteLLM Virtual Key: ${limit.owner}, key_alias: ${keyAlias}`
        : limit.kind === 'user'
          ? `LiteLLM User: ${limit.owner}`
          : `${NAMES[limit.kind]}=${limit.owner}`
    return `Budget has been exceeded! ${whose}, exceeded budget for model=${limit.model}. ${costs}.`
  }
  switch (limit.kind) {
    case 'key':
      return `Budget has been exceeded! ${costs}.`
    case 'user':
      return `ExceededBudget: User=${limit.owner} over budget. Spend=${spent}, Budget=${budget}.`
    case 'customer':
      return `ExceededBudget: End User=${limit.owner} over budget. Spend=${spent}, Budget=${budget}.`
    case 'team_member': {
      const [team, ...user] = limit.owner.split(':')
      return `Budget has been exceeded! User=${user.join(':')} in Team=${team} ${costs}.`
    }
    case 'run':
      return `The cap of run ${limit.owner} is reached. ${costs}.`
    case 'provider':
    case 'deployment':
      return `No deployments available - crossed budget for ${limit.kind}: Exceeded budget for ${limit.kind} ${limit.owner}: ${spent} >= ${budget}.`
    default:
      return `Budget has been exceeded! ${NAMES[limit.kind]}=${limit.owner} ${costs}.`
  }
}

const NAMES: Readonly<Record<Limit['kind'], string>> = {
  key: 'Key',
  team_member: 'Team member',
  user: 'User',
  team: 'Team',
  project: 'Project',
  organization: 'Organization',
  customer: 'End User',
  tag: 'Tag',
  proxy: 'Proxy',
  provider: 'Provider',
  deployment: 'Deployment',
  run: 'Run',
}

const TYPES = { requests: 'requests', tokens: 'tokens', parallel: 'max_parallel_requests' } as const

function rateRefusal({ limit, type, state, tokens }: Refused, now: number): GatewayError {
  const kind = type as keyof typeof TYPES
  const allowed = limit[kind] ?? 0
  const left = Math.max(0, allowed - state[kind])
  const wait = kind === 'parallel' ? SOON : Math.max(1, kind === 'tokens' ? state.tokensReset : state.requestsReset)
  const resetAt = utc(now + wait)
  const { descriptor, value } = descriptorOf(limit)
  const asked = kind === 'tokens' && left > 0 ? ` This request may use ${tokens}.` : ''
  return new GatewayError(
    'rate_limited',
    `Rate limit exceeded for ${descriptor}: ${value}. Limit type: ${TYPES[kind]}. Current limit: ${allowed}, Remaining: ${left}. Limit resets at: ${resetAt} UTC.${asked}`,
    { retryAfter: wait, headers: { rate_limit_type: TYPES[kind], reset_at: `${resetAt} UTC` } },
  )
}

/** The limit's name in messages and headers (surface reference §3.5). */
export function descriptorOf(limit: Limit): { descriptor: string; value: string } {
  const base = limit.kind === 'key' ? 'api_key' : limit.kind === 'customer' ? 'end_user' : limit.kind
  if (limit.model === undefined) return { descriptor: base, value: limit.owner }
  return { descriptor: `model_per_${limit.kind}`, value: `${limit.owner}:${limit.model}` }
}

/** `YYYY-MM-DD HH:MM:SS`, UTC. */
function utc(time: number): string {
  return new Date(Math.ceil(time / 1000) * 1000).toISOString().slice(0, 19).replace('T', ' ')
}
