import { type CustomerLimits, type Limit, type LimitsReply, type LimitsRequest, scopes } from '../../proto/limits.ts'
import { QUEUE } from '../../proto/subjects.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Database } from '../../shared/db/db.ts'
import { nanoOf } from '../../shared/money.ts'
import { setWindow } from '../ledger/windows.ts'
import { findCustomerLimits, findSpends, findTagBudgets, type Spends } from '../sql/limits.ts'
import { budgetParts, extraWindows, type LimitOwner, ownerLimits } from './limits.ts'

/** Most names of one kind answered at once: a body may name any number of tags. */
const NAMES_MAX = 1_000

/** An owner of limits with the window of its budget. */
interface WindowedOwner extends LimitOwner {
  duration: string | null
}

/** Answers routers that ask for the limits of customers and tags, which only the body of a call names. */
export function serveLimits(deps: { bus: Bus; db: Database; clock: Clock; config: () => Config }): Service {
  const { bus } = deps
  return bus.respond(bus.subjects.limits, QUEUE.accounting, async (payload): Promise<LimitsReply> => {
    const { customers, tags } = payload as Partial<LimitsRequest>
    const [ofCustomers, ofTags] = await Promise.all([customerLimits(deps, namesIn(customers)), tagLimits(deps, namesIn(tags))])
    return { v: WIRE_VERSION, customers: ofCustomers, tags: ofTags }
  })
}

type Deps = { db: Database; clock: Clock; config: () => Config }

async function customerLimits(deps: Deps, ids: readonly string[]): Promise<Record<string, CustomerLimits>> {
  if (ids.length === 0) return {}
  const { max_end_user_budget_id: defaultId, max_end_user_budget: defaultBudget } = deps.config().litellm_settings
  const rows = await findCustomerLimits(deps.db, ids, defaultId ?? null)
  const owners = rows.map(
    (row): WindowedOwner => ({
      scope: scopes.customer(row.id),
      kind: 'customer',
      owner: row.id,
      own: row.budget === null && defaultBudget != null ? { max_budget_nano: nanoOf(defaultBudget) } : null,
      budget: row.budget,
      duration: row.budget?.budget_duration ?? null,
    }),
  )
  const spends = await windowedSpends(deps, owners)
  return Object.fromEntries(
    rows.map((row, index) => [
      row.id,
      {
        limits: limitsIn(owners[index], spends, deps.clock.now()),
        blocked: row.blocked ?? false,
        region: row.allowed_model_region,
        defaultModel: row.default_model,
      },
    ]),
  )
}

async function tagLimits(deps: Deps, names: readonly string[]): Promise<Record<string, Limit[]>> {
  if (names.length === 0) return {}
  const config = deps.config().litellm_settings.tag_budget_config ?? {}
  const rows = new Map((await findTagBudgets(deps.db, names)).map((row) => [row.tag_name, row]))
  const owners = names.map((name): WindowedOwner => {
    const row = rows.get(name) ?? null
    const configured = row === null && Object.hasOwn(config, name) ? budgetParts(config[name]) : null
    return {
      scope: scopes.tag(name),
      kind: 'tag',
      owner: name,
      own: configured === null ? null : { max_budget_nano: configured.budget },
      budget: row,
      duration: configured?.duration ?? row?.budget_duration ?? null,
    }
  })
  const spends = await windowedSpends(deps, owners)
  return Object.fromEntries(owners.map((owner) => [owner.owner, limitsIn(owner, spends, deps.clock.now())]))
}

function limitsIn(owner: LimitOwner | undefined, spends: Spends, now: number): Limit[] {
  return owner === undefined ? [] : ownerLimits(owner, spends, now)
}

/** The spend of owners and of their models; those whose window is not scheduled as their budget says are scheduled first. */
async function windowedSpends(deps: Deps, owners: readonly WindowedOwner[]): Promise<Spends> {
  const windows = owners.flatMap((owner) => [{ scope: owner.scope, duration: owner.duration }, ...extraWindows(owner)])
  return ensureWindows(deps, windows)
}

/** Schedules the windows that are not yet as they should be; the spend of all of these scopes. */
export async function ensureWindows(deps: Deps, windows: readonly { scope: string; duration: string | null }[]): Promise<Spends> {
  const { db, clock } = deps
  const names = windows.map(({ scope }) => scope)
  const spends = await findSpends(db, names)
  const wrong = windows.filter(({ scope, duration }) => (spends[scope]?.duration ?? null) !== duration)
  if (wrong.length === 0) return spends
  const zone = deps.config().litellm_settings.timezone ?? 'UTC'
  await db.transaction(async (tx) => {
    for (const { scope, duration } of wrong) await setWindow(tx, scope, duration, clock.now(), zone)
  })
  return findSpends(db, names)
}

function namesIn(value: unknown): string[] {
  const names = Array.isArray(value) ? value.filter((name): name is string => typeof name === 'string') : []
  return [...new Set(names)].slice(0, NAMES_MAX)
}
