import type { Spent } from '../../shared/counters/counters.ts'
import { formatDollars } from '../../shared/money.ts'
import { dollars, dollarsOrNull } from '../dollars.ts'
import type { Alarming, Alert, AlertScope, Threshold } from '../sql/alerts.ts'
import { scopeName } from './scopes.ts'

/** Thresholds that a scope has reached: its soft budget, four fifths of its budget, its budget. Pure. */
export function alertsOf(found: Alarming): Alert[] {
  const { hard, soft, spent } = found
  const reached: [Threshold, number][] = []
  if (soft !== null && soft > 0 && spent >= soft) reached.push(['soft', soft])
  if (hard !== null && hard > 0 && BigInt(spent) * 5n >= BigInt(hard) * 4n) reached.push(['80', hard])
  if (hard !== null && hard > 0 && spent >= hard) reached.push(['100', hard])
  return reached.map(([threshold, limit]) => ({ ...found, threshold, limit }))
}

const EVENTS: Readonly<Record<Threshold, string>> = {
  soft: 'soft_budget_crossed',
  '80': 'threshold_crossed',
  '100': 'budget_crossed',
}

/** An alert in a sentence. */
export function alertText({ scope, threshold, limit, spent }: Alert): string {
  const name = scopeName(scope)
  const who = name === null ? scope : [name.kind.replace('_', ' '), name.ids.toReversed().join(' in ')].join(' ').trim()
  const what = threshold === 'soft' ? 'soft budget' : threshold === '80' ? '80 % of the budget' : 'budget'
  return `The ${who} has spent $${formatDollars(spent)} and reached the ${what} of $${formatDollars(limit)}.`
}

/** The body posted to a webhook (surface reference §9.6). Money is JSON numbers of dollars. */
export function webhookBody(alert: Alert): Record<string, unknown> {
  const name = scopeName(alert.scope)
  const [id = null, member = null] = name?.ids ?? []
  const { owner } = alert
  return {
    spend: dollars(alert.spent),
    max_budget: dollarsOrNull(alert.hard),
    soft_budget: dollarsOrNull(alert.soft),
    token: name?.kind === 'key' ? id : null,
    customer_id: name?.kind === 'customer' ? id : null,
    user_id: owner.user_id ?? (name?.kind === 'team_member' ? member : null),
    team_id: owner.team_id ?? null,
    team_alias: owner.team_alias ?? null,
    organization_id: owner.organization_id ?? null,
    user_email: owner.user_email ?? null,
    key_alias: owner.key_alias ?? null,
    projected_exceeded_date: null,
    projected_spend: null,
    event: EVENTS[alert.threshold],
    event_group: name?.kind === 'customer' ? 'end_user' : (name?.kind ?? 'proxy'),
    event_message: alertText(alert),
  }
}

/** Kinds of scopes that can have a budget of their own in the database. */
const KINDS: ReadonlySet<string> = new Set(['key', 'user', 'team', 'team_member', 'organization', 'project', 'customer', 'tag'])
/** Scopes remembered between two looks. */
const MOST = 50_000

/** Scopes that spent something since the last look, each once. */
export interface Spenders {
  note(spent: readonly Spent[]): void
  /** Takes up to `most` of them out. */
  take(most: number): AlertScope[]
}

/** Remembers who spent, for the job that looks whether somebody must be told. */
export function createSpenders(): Spenders {
  const names = new Set<string>()
  return {
    note(spent) {
      if (names.size >= MOST) return
      for (const { scope } of spent) names.add(scope)
    },
    take(most) {
      const taken: AlertScope[] = []
      for (const scope of names) {
        if (taken.length === most) break
        names.delete(scope)
        const name = scopeName(scope)
        if (name === null || name.part !== null || !KINDS.has(name.kind)) continue
        taken.push({ scope, kind: name.kind, id: name.ids[0] ?? '', member: name.ids[1] ?? null })
      }
      return taken
    },
  }
}
