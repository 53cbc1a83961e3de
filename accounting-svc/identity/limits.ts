import { type Limit, type ScopeKind, scopes } from '../../proto/limits.ts'
import type { Config } from '../../shared/config/config.ts'
import { nanoOf } from '../../shared/money.ts'
import type { BudgetRow, IdentityRow, SpendState, Spends } from '../sql/limits.ts'

/** What the configuration says of limits. */
export interface LimitSettings {
  /** Calls at once for keys that do not say (`general_settings.max_parallel_requests`). */
  keyParallel: number | null
  /** Whether a user's own budget counts for keys of a team too. */
  userBudgetOnTeamKeys: boolean
  /** Nano-dollars of everybody together. */
  proxyBudget: number | null
}

export function limitSettingsOf(config: Config): LimitSettings {
  const { general_settings: general, litellm_settings: calls } = config
  return {
    keyParallel: general.max_parallel_requests ?? null,
    userBudgetOnTeamKeys: general.apply_user_budget_to_team_keys ?? false,
    proxyBudget: calls.max_budget == null ? null : nanoOf(calls.max_budget),
  }
}

/** Limits as an owner's row or a budget row says them. Money is nano-dollars; null or absent = not said. */
export interface OwnLimits {
  max_budget_nano?: number | null
  soft_budget_nano?: number | null
  max_parallel_requests?: number | null
  tpm_limit?: number | null
  rpm_limit?: number | null
  model_max_budget?: Record<string, unknown> | null
}

/** Somebody who may be limited: own values beat those of the linked budget row. */
export interface LimitOwner {
  scope: string
  kind: ScopeKind
  /** What messages call it. */
  owner: string
  own?: OwnLimits | null
  budget?: OwnLimits | null
  /** Limits per model and the temporary increase live here. */
  metadata?: Record<string, unknown> | undefined
  /** `budget_limits`: further windows. */
  windows?: unknown
}

/**
 * Every limit a call of this key falls under, one per scope, in the order refusals are reported. Pure. `now` is Unix milliseconds:
 * a temporary increase that is over counts no more.
 */
export function limitsOf(row: IdentityRow, settings: LimitSettings, now: number): Limit[] {
  return [
    ...ownersOf(row, settings).flatMap((owner) => ownerLimits(owner, row.spends, now)),
    ...proxyLimits(settings, row.spends),
  ]
}

/** Who limits a key, in the order refusals are reported. */
export function ownersOf(row: IdentityRow, settings: LimitSettings): LimitOwner[] {
  const { key, user, team, organization, project } = row
  const owners: LimitOwner[] = [keyOwner(key, row.keyBudget, settings)]
  if (key.team_id !== null && key.user_id !== null) {
    const [teamId, userId] = [key.team_id, key.user_id]
    owners.push({
      scope: scopes.teamMember(teamId, userId),
      kind: 'team_member',
      owner: `${teamId}:${userId}`,
      budget: row.memberBudget,
      metadata: row.member?.metadata,
    })
  }
  if (key.user_id !== null && user !== null) {
    const paysSelf = key.team_id === null || settings.userBudgetOnTeamKeys
    owners.push({
      scope: scopes.user(key.user_id),
      kind: 'user',
      owner: key.user_id,
      own: paysSelf ? user : { ...user, max_budget_nano: null, model_max_budget: null },
      metadata: user.metadata,
      windows: paysSelf ? user.budget_limits : null,
    })
  }
  if (key.team_id !== null && team !== null) {
    const { metadata, budget_limits: windows } = team
    owners.push({ scope: scopes.team(key.team_id), kind: 'team', owner: key.team_id, own: team, metadata, windows })
  }
  if (key.project_id !== null && project !== null) {
    const { metadata } = project
    owners.push({
      scope: scopes.project(key.project_id),
      kind: 'project',
      owner: key.project_id,
      budget: row.projectBudget,
      metadata,
    })
  }
  const organizationId = key.organization_id ?? team?.organization_id ?? null
  if (organizationId !== null && organization !== null) {
    const { metadata } = organization
    owners.push({
      scope: scopes.organization(organizationId),
      kind: 'organization',
      owner: organizationId,
      budget: row.organizationBudget,
      metadata,
    })
  }
  return owners
}

/** A key as an owner of limits. */
export function keyOwner(
  key: IdentityRow['key'],
  budget: BudgetRow | null,
  settings: Pick<LimitSettings, 'keyParallel'>,
): LimitOwner {
  return {
    scope: scopes.key(key.token),
    kind: 'key',
    owner: key.token,
    own: { ...key, max_parallel_requests: key.max_parallel_requests ?? budget?.max_parallel_requests ?? settings.keyParallel },
    budget,
    metadata: key.metadata,
    windows: key.budget_limits,
  }
}

/** The limits of one owner: its own, those per model, its further windows. Scopes without any limit are left out. Pure. */
export function ownerLimits(owner: LimitOwner, spends: Spends, now: number): Limit[] {
  const { scope, kind, owner: name, own, budget } = owner
  const metadata = owner.metadata ?? {}
  const values: Values = {
    requests: own?.rpm_limit ?? budget?.rpm_limit ?? null,
    tokens: own?.tpm_limit ?? budget?.tpm_limit ?? null,
    parallel: own?.max_parallel_requests ?? budget?.max_parallel_requests ?? null,
    softBudget: own?.soft_budget_nano ?? budget?.soft_budget_nano ?? null,
    ...increased(own?.max_budget_nano ?? budget?.max_budget_nano ?? null, metadata, now),
  }
  const models = modelBudgets(own, budget)
  const requestsPerModel = mapOf(metadata['model_rpm_limit'])
  const tokensPerModel = mapOf(metadata['model_tpm_limit'])
  const modelNames = new Set([...Object.keys(models), ...Object.keys(requestsPerModel), ...Object.keys(tokensPerModel)])
  return [
    ...limit({ scope, kind, owner: name }, values, spends),
    ...[...modelNames].flatMap((model) => {
      const entry = models[model]
      const perModel: Values = {
        requests: countOf(requestsPerModel[model]) ?? entry?.requests ?? null,
        tokens: countOf(tokensPerModel[model]) ?? entry?.tokens ?? null,
        budget: entry?.budget ?? null,
      }
      return limit({ scope: scopes.model(scope, model), kind, owner: name, model }, perModel, spends)
    }),
    ...windowsOf(owner.windows).flatMap(({ duration, budget }) =>
      limit({ scope: scopes.window(scope, duration), kind, owner: name }, { budget }, spends),
    ),
  ]
}

/** The budget of everybody together. */
export function proxyLimits(settings: Pick<LimitSettings, 'proxyBudget'>, spends: Spends): Limit[] {
  return limit({ scope: scopes.proxy, kind: 'proxy', owner: 'proxy' }, { budget: settings.proxyBudget }, spends)
}

/** A scope limited by a budget alone. */
export function budgetLimit(scope: string, kind: ScopeKind, owner: string, budget: number, spends: Spends): Limit {
  return { scope, kind, owner, budget, ...spentIn(scope, spends) }
}

/** Scopes of an owner whose spend has a window of its own beside the owner's: models and further windows, with their durations. */
export function extraWindows(
  owner: Pick<LimitOwner, 'scope' | 'own' | 'budget' | 'windows'>,
): { scope: string; duration: string | null }[] {
  const models = Object.entries(modelBudgets(owner.own, owner.budget)).filter(([, entry]) => entry.budget !== null)
  return [
    ...models.map(([model, { duration }]) => ({ scope: scopes.model(owner.scope, model), duration })),
    ...windowsOf(owner.windows).map(({ duration }) => ({ scope: scopes.window(owner.scope, duration), duration })),
  ]
}

export interface ModelBudget {
  /** Nano-dollars. */
  budget: number | null
  duration: string | null
  requests: number | null
  tokens: number | null
}

/** `model_max_budget` of an owner, the entries of its budget row filling in for models that its own list lacks. */
export function modelBudgets(
  own: OwnLimits | null | undefined,
  budget: OwnLimits | null | undefined,
): Record<string, ModelBudget> {
  const entries = { ...mapOf(budget?.model_max_budget), ...mapOf(own?.model_max_budget) }
  return Object.fromEntries(
    Object.entries(entries).map(([model, value]) => {
      // A bare number is a budget too.
      const entry = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : { budget_limit: value }
      return [
        model,
        {
          ...budgetParts(entry),
          requests: countOf(entry['rpm_limit']),
          tokens: countOf(entry['tpm_limit']),
        },
      ]
    }),
  )
}

/** A budget under any of LiteLLM's names for its parts: nano-dollars, and the window as it is written. */
export function budgetParts(stored: unknown): { budget: number | null; duration: string | null } {
  const entry = mapOf(stored)
  return {
    budget: nanoOrNull(entry['budget_limit'] ?? entry['max_budget']),
    duration: textOf(entry['time_period'] ?? entry['budget_duration']),
  }
}

/** `budget_limits` as stored. */
export function windowsOf(stored: unknown): { duration: string; budget: number }[] {
  if (!Array.isArray(stored)) return []
  return stored.flatMap((part: unknown) => {
    const entry = mapOf(part)
    const [duration, budget] = [textOf(entry['budget_duration']), nanoOrNull(entry['max_budget'])]
    return duration === null || budget === null ? [] : [{ duration, budget }]
  })
}

interface Values {
  requests?: number | null
  tokens?: number | null
  parallel?: number | null
  budget?: number | null
  softBudget?: number | null
  budgetUntil?: number | null
  budgetAfter?: number | null
}

const NAMES = ['requests', 'tokens', 'parallel', 'budget', 'softBudget', 'budgetUntil', 'budgetAfter'] as const

/** One limit, or none where nothing is set. */
function limit(named: Pick<Limit, 'scope' | 'kind' | 'owner' | 'model'>, values: Values, spends: Spends): Limit[] {
  const set = NAMES.flatMap((name) => (values[name] == null ? [] : [[name, values[name]]]))
  if (set.length === 0) return []
  return [{ ...named, ...Object.fromEntries(set), ...spentIn(named.scope, spends) }]
}

function spentIn(scope: string, spends: Spends): Pick<Limit, 'spent' | 'revision' | 'resetAt'> {
  const state: SpendState | undefined = spends[scope]
  return { spent: state?.spent ?? 0, revision: state?.revision ?? 0, resetAt: state?.resetAt ?? null }
}

/** A budget with its temporary increase (`temp_budget_increase`, `temp_budget_expiry`), while that lasts. */
function increased(
  budget: number | null,
  metadata: Record<string, unknown>,
  now: number,
): Pick<Values, 'budget' | 'budgetUntil' | 'budgetAfter'> {
  const increase = nanoOrNull(metadata['temp_budget_increase'])
  const until = Date.parse(textOf(metadata['temp_budget_expiry']) ?? '')
  if (budget === null || increase === null || !(until > now)) return { budget }
  return { budget: budget + increase, budgetUntil: until, budgetAfter: budget }
}

/** The budget in force, nano-dollars: with the temporary increase while that lasts. */
export function budgetNow(
  own: OwnLimits,
  budget: OwnLimits | null,
  metadata: Record<string, unknown>,
  now: number,
): number | null {
  return increased(own.max_budget_nano ?? budget?.max_budget_nano ?? null, metadata, now).budget ?? null
}

function mapOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

/** A count stored as a number or as a text of one. */
function countOf(value: unknown): number | null {
  if (typeof value !== 'number' && (typeof value !== 'string' || value.trim() === '')) return null
  const count = Math.floor(Number(value))
  return Number.isSafeInteger(count) && count >= 0 ? count : null
}

/** Dollars stored as a number or as a text of one → nano-dollars. */
function nanoOrNull(value: unknown): number | null {
  if (typeof value !== 'number' && typeof value !== 'string') return null
  try {
    return nanoOf(value)
  } catch {
    return null
  }
}
