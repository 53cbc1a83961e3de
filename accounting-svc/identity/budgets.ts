import { type Limit, scopes } from '../../proto/limits.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { alreadyExists } from '../../shared/db/sql-state.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import { dollarsOrNull, nanoField } from '../dollars.ts'
import { nextReset } from '../ledger/budgets.ts'
import { setWindow } from '../ledger/windows.ts'
import { audit } from '../sql/audit.ts'
import {
  type BudgetRow,
  deleteBudget,
  findBudget,
  findBudgets,
  insertBudget,
  type LinkedOwner,
  linkedOwners,
  listBudgets,
  unlinkBudget,
  updateBudget,
} from '../sql/budgets.ts'
import { actorOf } from './access.ts'
import { auditEntry } from './audit.ts'
import { extraWindows, type LimitOwner } from './limits.ts'
import type { Writer } from './writer.ts'

/** What a client sends to make or change a budget, already checked against its schema. Dollars, durations, counts. */
export type BudgetFields = Record<string, unknown>

/** Fields of a budget row as clients name them. */
export const BUDGET_FIELDS = [
  'max_budget',
  'soft_budget',
  'max_parallel_requests',
  'tpm_limit',
  'rpm_limit',
  'model_max_budget',
  'budget_duration',
  'allowed_models',
] as const

/** Whether `fields` say anything that a budget row holds; null says "none" only where a row exists already. */
export function saysBudget(fields: BudgetFields, names: readonly string[] = BUDGET_FIELDS): boolean {
  return names.some((name) => fields[name] != null && fields[name] !== '')
}

/** The columns of a budget row that `fields` set; what they do not name stays. Throws GatewayError `bad_request` for an amount. */
export function budgetColumns(fields: BudgetFields): Partial<BudgetRow> {
  const columns: Partial<BudgetRow> = {}
  if (fields['max_budget'] !== undefined) columns.max_budget_nano = nanoField(fields['max_budget'], 'max_budget')
  if (fields['soft_budget'] !== undefined) columns.soft_budget_nano = nanoField(fields['soft_budget'], 'soft_budget')
  for (const name of ['max_parallel_requests', 'tpm_limit', 'rpm_limit'] as const) {
    if (fields[name] !== undefined) columns[name] = fields[name] as number | null
  }
  if (fields['budget_duration'] !== undefined) columns.budget_duration = fields['budget_duration'] as string | null
  if (fields['model_max_budget'] !== undefined)
    columns.model_max_budget = (fields['model_max_budget'] as Record<string, unknown> | null) ?? {}
  if (fields['allowed_models'] !== undefined) columns.allowed_models = (fields['allowed_models'] as string[] | null) ?? []
  return columns
}

/** A budget row as clients see it. `resetAt` is when the window of its owner closes. */
export function budgetObject(row: BudgetRow, resetAt: Date | null): Record<string, unknown> {
  const { max_budget_nano, soft_budget_nano, ...rest } = row
  return {
    ...rest,
    max_budget: dollarsOrNull(max_budget_nano),
    soft_budget: dollarsOrNull(soft_budget_nano),
    budget_reset_at: resetAt,
  }
}

/** The refusal of one field of a management body. */
export function badRequest(param: string, message: string): GatewayError {
  return new GatewayError('bad_request', message, { type: 'bad_request_error', param })
}

/** Adds a row made of `fields`, under an id of its own unless one is given. Throws GatewayError `bad_request` for an id that exists. */
export async function makeBudget(
  tx: Transaction,
  fields: BudgetFields,
  by: Writer,
  now: number,
  id: string = rowId(),
): Promise<BudgetRow> {
  const [at, who] = [new Date(now), actorOf(by.actor)]
  const row = { ...budgetColumns(fields), budget_id: id, created_at: at, created_by: who, updated_at: at, updated_by: who }
  return insertBudget(tx, row).catch((error: unknown) => {
    throw alreadyExists(error) ? badRequest('budget_id', `Budget ${id} already exists.`) : error
  })
}

/** The row of this id. Throws GatewayError `bad_request` (naming `budget_id`) for one that does not exist. */
export async function requireBudget(tx: Transaction, id: string, lock = false): Promise<BudgetRow> {
  const row = await findBudget(tx, id, lock)
  if (row === undefined) throw badRequest('budget_id', `Budget ${id} does not exist. Make it with /budget/new.`)
  return row
}

/** Schedules the window of an owner's spend, and those of its models and further windows that have one. */
export async function scheduleOwner(
  tx: Transaction,
  owner: Pick<LimitOwner, 'scope' | 'own' | 'budget' | 'windows'>,
  duration: string | null,
  now: number,
  zone: string,
): Promise<void> {
  await setWindow(tx, owner.scope, duration, now, zone)
  for (const extra of extraWindows(owner)) await setWindow(tx, extra.scope, extra.duration, now, zone)
}

/** Schedules the windows of everybody linked to `row`; `row` null = it is gone. */
export async function scheduleLinked(
  tx: Transaction,
  owners: readonly LinkedOwner[],
  row: BudgetRow | null,
  now: number,
  zone: string,
): Promise<void> {
  for (const owner of owners) {
    const own = { model_max_budget: owner.model_max_budget }
    const duration = owner.budget_duration ?? row?.budget_duration ?? null
    await scheduleOwner(tx, { scope: scopeOf(owner), own, budget: row }, duration, now, zone)
  }
}

function scopeOf({ kind, id, member }: LinkedOwner): Limit['scope'] {
  switch (kind) {
    case 'team_member':
      return scopes.teamMember(id, member ?? '')
    case 'organization_member':
      return scopes.organizationMember(id, member ?? '')
    default:
      return scopes[kind](id)
  }
}

/** Changes a row and reschedules the windows of all who share it. The caller announces. */
export async function changeBudget(
  tx: Transaction,
  id: string,
  fields: BudgetFields,
  by: Writer,
  now: number,
  zone: string,
): Promise<BudgetRow> {
  const row = await updateBudget(tx, id, {
    ...budgetColumns(fields),
    updated_at: new Date(now),
    updated_by: actorOf(by.actor),
  })
  if (row === undefined) throw badRequest('budget_id', `Budget ${id} does not exist. Make it with /budget/new.`)
  if (fields['budget_duration'] !== undefined || fields['model_max_budget'] !== undefined)
    await scheduleLinked(tx, await linkedOwners(tx, id), row, now, zone)
  return row
}

/** The time zone of budget windows. */
export function zoneOf(config: Config): string {
  return config.litellm_settings.timezone ?? 'UTC'
}

export interface Budgets {
  make(fields: BudgetFields, by: Writer): Promise<Record<string, unknown>>
  change(fields: BudgetFields & { budget_id: string }, by: Writer): Promise<Record<string, unknown>>
  remove(id: string, by: Writer): Promise<Record<string, unknown>>
  info(ids: readonly string[]): Promise<Record<string, unknown>[]>
  list(): Promise<Record<string, unknown>[]>
  settings(id: string): Promise<Record<string, unknown>[]>
}

/** The rules of budget rows. A change of one is a change of everybody linked to it. */
export function createBudgets(deps: { db: Database; bus: Bus; config: () => Config; clock: Clock }): Budgets {
  const { db, bus, clock } = deps
  const zone = (): string => zoneOf(deps.config())

  /** Each owner's window began when it was linked, but all close together: windows are aligned to the calendar. */
  const shown = (row: BudgetRow): Record<string, unknown> =>
    budgetObject(row, row.budget_duration === null ? null : new Date(nextReset(clock.now(), row.budget_duration, zone())))

  function announce(): void {
    bus.announce('identity', {})
    bus.announce('budget', {})
  }

  return {
    async make(fields, by) {
      const id = typeof fields['budget_id'] === 'string' ? fields['budget_id'] : undefined
      const row = await db.transaction(async (tx) => {
        const made = await makeBudget(tx, fields, by, clock.now(), id)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'created', 'budgets', made.budget_id, null, shown(made)))
        return made
      })
      return shown(row)
    },

    async change(fields, by) {
      const id = fields.budget_id
      const row = await db.transaction(async (tx) => {
        const before = await requireBudget(tx, id, true)
        const after = await changeBudget(tx, id, fields, by, clock.now(), zone())
        await audit(tx, auditEntry(by.actor, by.changedBy, 'updated', 'budgets', id, shown(before), shown(after)))
        return after
      })
      announce()
      return shown(row)
    },

    async remove(id, by) {
      const row = await db.transaction(async (tx) => {
        const before = await requireBudget(tx, id, true)
        const owners = await linkedOwners(tx, id)
        await unlinkBudget(tx, id)
        await scheduleLinked(tx, owners, null, clock.now(), zone())
        await deleteBudget(tx, id)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'deleted', 'budgets', id, shown(before), null))
        return before
      })
      announce()
      return shown(row)
    },

    async info(ids) {
      return (await findBudgets(db, ids)).map(shown)
    },

    async list() {
      return (await listBudgets(db)).map(shown)
    },

    async settings(id) {
      const values = shown(await requireBudget(db, id))
      return SETTINGS.map(([name, type, description]) => ({
        field_name: name,
        field_type: type,
        field_description: description,
        field_value: values[name] ?? null,
        stored_in_db: true,
        field_default_value: null,
      }))
    },
  }
}

const SETTINGS = [
  ['max_parallel_requests', 'Integer', 'Calls at once.'],
  ['tpm_limit', 'Integer', 'Tokens per minute.'],
  ['rpm_limit', 'Integer', 'Requests per minute.'],
  ['budget_duration', 'String', 'Window of the budget: 30s, 15m, 12h, 7d, 2w, 1mo.'],
  ['max_budget', 'Float', 'Dollars per window.'],
  ['soft_budget', 'Float', 'Dollars per window that raise an alert.'],
] as const
