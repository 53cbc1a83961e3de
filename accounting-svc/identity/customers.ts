import { scopes } from '../../proto/limits.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { alreadyExists } from '../../shared/db/sql-state.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { dollars } from '../dollars.ts'
import { archiveRows } from '../sql/archive.ts'
import { audit } from '../sql/audit.ts'
import { type BudgetRow, findBudgets } from '../sql/budgets.ts'
import {
  blockCustomers,
  type CustomerRow,
  type CustomerView,
  customersAfter,
  deleteCustomers,
  findCustomers,
  insertCustomer,
  updateCustomer,
} from '../sql/customers.ts'
import { setSpend } from '../sql/limits.ts'
import { actorOf } from './access.ts'
import { batches } from './announce-keys.ts'
import { auditEntry } from './audit.ts'
import { budgetObject, scheduleOwner, zoneOf } from './budgets.ts'
import { ownBudget } from './own-budget.ts'
import { spendField, tellSpent } from './spend-changes.ts'
import type { Writer } from './writer.ts'

/** What a client sends to make or change a customer, already checked against its schema (routes/customers.ts). */
export type CustomerFields = Record<string, unknown> & { user_id: string }

export interface Customers {
  create(fields: CustomerFields, by: Writer): Promise<Record<string, unknown>>
  update(fields: CustomerFields, by: Writer): Promise<Record<string, unknown>>
  /** How many. */
  remove(userIds: readonly string[], by: Writer): Promise<number>
  setBlocked(userIds: readonly string[], blocked: boolean, by: Writer): Promise<Record<string, unknown>[]>
  info(userId: string): Promise<Record<string, unknown>>
  /** All of them, a page in memory at a time. */
  list(signal: AbortSignal): AsyncGenerator<Record<string, unknown>>
}

const PLAIN = ['alias', 'allowed_model_region', 'default_model', 'object_permission'] as const
/** Customers read at once while a list streams. */
const PAGE = 1000

/** The rules of customers (end users): who calls on behalf of them is not asked, what they cost is. */
export function createCustomers(deps: {
  db: Database
  bus: Bus
  counters: Pick<Counters, 'book'>
  config: () => Config
  clock: Clock
  /** Resolves when routers ask about customers, should any be limited. */
  inForce: () => Promise<void>
  log: Log
}): Customers {
  const { db, bus, config, clock } = deps
  const announce = async (customers: readonly string[]): Promise<void> => {
    for (const batch of batches(customers)) bus.announce('budget', { customers: batch })
    await deps.inForce()
  }

  /** The customer as it is now, its budget linked and its windows scheduled. */
  async function link(
    tx: Transaction,
    before: CustomerView,
    fields: CustomerFields,
    by: Writer,
  ): Promise<Record<string, unknown>> {
    const id = before.user_id
    const budget = await ownBudget(tx, before.budget_id, fields, by, clock.now(), zoneOf(config()))
    if (budget !== null || before.budget_id !== null) {
      await updateCustomer(tx, id, { budget_id: budget?.budget_id ?? null })
      await scheduleOwner(
        tx,
        { scope: scopes.customer(id), budget },
        budget?.budget_duration ?? null,
        clock.now(),
        zoneOf(config()),
      )
    }
    return shown(await mustFind(tx, id), budget)
  }

  async function shownAll(tx: Transaction, rows: readonly CustomerView[]): Promise<Record<string, unknown>[]> {
    const ids = rows.flatMap((row) => (row.budget_id === null ? [] : [row.budget_id]))
    const budgets = new Map((ids.length === 0 ? [] : await findBudgets(tx, [...new Set(ids)])).map((row) => [row.budget_id, row]))
    return rows.map((row) => shown(row, budgets.get(row.budget_id ?? '') ?? null))
  }

  return {
    async create(fields, by) {
      const id = fields.user_id
      const { customer, spent } = await db.transaction(async (tx) => {
        const now = new Date(clock.now())
        await insertCustomer(tx, { ...customerColumns(fields), user_id: id, created_at: now, updated_at: now }).catch(
          (error: unknown) => {
            throw alreadyExists(error)
              ? new GatewayError('already_exists', `Customer already exists, passed user_id=${id}. Please pass a new user_id.`, {
                  param: 'user_id',
                })
              : error
          },
        )
        // Set also where it is 0: what a customer of this id spent before it was deleted is in the ledger.
        const spent = await setSpend(tx, scopes.customer(id), spendField(fields) ?? 0)
        const made = await link(tx, await mustFind(tx, id), fields, by)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'created', 'customers', id, null, made))
        return { customer: made, spent }
      })
      await tellSpent(deps, [spent])
      await announce([id])
      return customer
    },

    async update(fields, by) {
      const id = fields.user_id
      const { customer, spents } = await db.transaction(async (tx) => {
        const before = await mustFind(tx, id, true)
        const [old] = await shownAll(tx, [before])
        await updateCustomer(tx, id, { ...customerColumns(fields), updated_at: new Date(clock.now()) })
        const spend = spendField(fields)
        const spents = spend === null ? [] : [await setSpend(tx, scopes.customer(id), spend)]
        const after = await link(tx, before, fields, by)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'updated', 'customers', id, old, after))
        return { customer: after, spents }
      })
      await tellSpent(deps, spents)
      await announce([id])
      return customer
    },

    async remove(userIds, by) {
      const ids = [...new Set(userIds)]
      await db.transaction(async (tx) => {
        const rows = await mustFindAll(tx, ids)
        const gone = await shownAll(tx, rows)
        await archiveRows(
          tx,
          'customers',
          rows.map((row, index) => ({ id: row.user_id, row: gone[index] })),
          actorOf(by.actor),
        )
        await deleteCustomers(tx, ids)
        for (const [index, row] of rows.entries()) {
          await audit(tx, auditEntry(by.actor, by.changedBy, 'deleted', 'customers', row.user_id, gone[index], null))
        }
      })
      await announce(ids)
      return ids.length
    },

    async setBlocked(userIds, blocked, by) {
      const ids = [...new Set(userIds)]
      const customers = await db.transaction(async (tx) => {
        if (!blocked) await mustFindAll(tx, ids)
        await blockCustomers(tx, ids, blocked)
        const action = blocked ? 'blocked' : 'unblocked'
        for (const id of ids) await audit(tx, auditEntry(by.actor, by.changedBy, action, 'customers', id, null, { blocked }))
        return shownAll(tx, await findCustomers(tx, ids))
      })
      await announce(ids)
      return customers
    },

    async info(userId) {
      const [customer] = await shownAll(db, [await mustFind(db, userId)])
      return customer as Record<string, unknown>
    },

    async *list(signal) {
      for (let last = ''; !signal.aborted; ) {
        const rows = await customersAfter(db, last, PAGE)
        yield* await shownAll(db, rows)
        if (rows.length < PAGE) return
        last = rows.at(-1)?.user_id ?? ''
      }
    },
  }
}

/** The columns that `fields` set; null puts the default back. */
function customerColumns(fields: CustomerFields): Partial<CustomerRow> {
  const plain = Object.fromEntries(PLAIN.flatMap((name) => (fields[name] === undefined ? [] : [[name, fields[name]]])))
  return { ...plain, ...(fields['blocked'] === undefined ? {} : { blocked: fields['blocked'] === true }) }
}

function shown(row: CustomerView, budget: BudgetRow | null): Record<string, unknown> {
  const { spend_nano, reset_at, ...rest } = row
  return {
    ...rest,
    spend: dollars(spend_nano),
    litellm_budget_table: budget === null ? null : budgetObject(budget, reset_at),
  }
}

async function mustFind(tx: Transaction, id: string, lock = false): Promise<CustomerView> {
  const [row] = await mustFindAll(tx, [id], lock)
  return row as CustomerView
}

async function mustFindAll(tx: Transaction, ids: readonly string[], lock = true): Promise<CustomerView[]> {
  const rows = await findCustomers(tx, ids, lock)
  if (rows.length === ids.length) return rows
  const known = new Set(rows.map((row) => row.user_id))
  const missing = ids.filter((id) => !known.has(id)).map((id) => `'${id}'`)
  throw new GatewayError('not_found', `End User Id=${missing.join(', ')} does not exist in db`, { param: 'user_id' })
}
