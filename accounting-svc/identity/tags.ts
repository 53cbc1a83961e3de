import type { Deployment } from '../../proto/deployment.ts'
import { scopes } from '../../proto/limits.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { alreadyExists } from '../../shared/db/sql-state.ts'
import { GatewayError } from '../../shared/errors.ts'
import { dollars } from '../dollars.ts'
import { archiveRows } from '../sql/archive.ts'
import { audit } from '../sql/audit.ts'
import { type BudgetRow, findBudgets } from '../sql/budgets.ts'
import {
  type ActiveUsers,
  activeUsers,
  deleteTag,
  distinctTags,
  findTags,
  insertTag,
  listTags,
  summarizeTags,
  type TagRow,
  type TagView,
  tagUse,
  updateTag,
} from '../sql/tags.ts'
import { actorOf } from './access.ts'
import { auditEntry } from './audit.ts'
import { badRequest, budgetObject, scheduleOwner, zoneOf } from './budgets.ts'
import { ownBudget } from './own-budget.ts'
import type { Writer } from './writer.ts'

/** What a client sends to make or change a tag, already checked against its schema (routes/tags.ts). */
export type TagFields = Record<string, unknown> & { name: string }

export interface Tags {
  create(fields: TagFields, by: Writer): Promise<Record<string, unknown>>
  update(fields: TagFields, by: Writer): Promise<Record<string, unknown>>
  remove(name: string, by: Writer): Promise<void>
  /** By name; names without a tag are missing. */
  info(names: readonly string[]): Promise<Record<string, Record<string, unknown>>>
  list(): Promise<Record<string, unknown>[]>
  /** Tags that calls carried, with a row or without one. */
  distinct(): Promise<string[]>
  /** What calls with a tag were. Days are YYYY-MM-DD, both included. */
  summary(filter: { from: string | null; to: string | null; tags: readonly string[] | null }): Promise<Record<string, unknown>[]>
  /** Users per tag in the last seven periods of so many days, the latest first. */
  active(days: number, tags: readonly string[] | null): Promise<ActiveUsers[]>
  /** What users did with tags in the last thirty days, a page at a time. */
  use(
    tags: readonly string[] | null,
    page: { page: number; size: number },
  ): Promise<{ rows: Record<string, unknown>[]; total: number }>
}

/** Most tags in one answer about the tags of calls: clients may send any text as one. */
const MOST = 1000
const DAY = 86_400_000
const PERIODS = 7
/** Days that /tag/user-agent/per-user-analytics looks back. */
const USE_DAYS = 30

/** The rules of tags: a budget and a description for a label that calls carry. */
export function createTags(deps: {
  db: Database
  bus: Bus
  config: () => Config
  clock: Clock
  deployment: (id: string) => Deployment | undefined
  /** Resolves when routers ask about tags, should any be limited. */
  inForce: () => Promise<void>
}): Tags {
  const { db, bus, config, clock, deployment } = deps
  const announce = async (name: string): Promise<void> => {
    bus.announce('budget', { tags: [name] })
    await deps.inForce()
  }

  /** The columns that `fields` set. `models` are ids of deployments, whose names are kept beside them. */
  function tagColumns(fields: TagFields): Partial<TagRow> {
    const columns: Partial<TagRow> = {}
    if (fields['description'] !== undefined) columns.description = fields['description'] as string | null
    if (fields['models'] === undefined) return columns
    const ids = (fields['models'] as string[] | null) ?? []
    const unknown = ids.filter((id) => deployment(id) === undefined)
    if (unknown.length > 0)
      throw badRequest('models', `There is no model with the id ${unknown.map((id) => `'${id}'`).join(', ')}.`)
    return { ...columns, models: ids, model_info: Object.fromEntries(ids.map((id) => [id, deployment(id)?.modelGroup])) }
  }

  /** The tag as it is now, its budget linked and its windows scheduled. */
  async function link(tx: Transaction, before: TagView, fields: TagFields, by: Writer): Promise<Record<string, unknown>> {
    const name = before.tag_name
    const budget = await ownBudget(tx, before.budget_id, fields, by, clock.now(), zoneOf(config()))
    if (budget !== null || before.budget_id !== null) {
      await updateTag(tx, name, { budget_id: budget?.budget_id ?? null })
      await scheduleOwner(tx, { scope: scopes.tag(name), budget }, budget?.budget_duration ?? null, clock.now(), zoneOf(config()))
    }
    return shown(await mustFind(tx, name), budget)
  }

  async function shownAll(tx: Transaction, rows: readonly TagView[]): Promise<Record<string, unknown>[]> {
    const ids = rows.flatMap((row) => (row.budget_id === null ? [] : [row.budget_id]))
    const budgets = new Map((ids.length === 0 ? [] : await findBudgets(tx, [...new Set(ids)])).map((row) => [row.budget_id, row]))
    return rows.map((row) => shown(row, budgets.get(row.budget_id ?? '') ?? null))
  }

  return {
    async create(fields, by) {
      const { name } = fields
      const row = tagColumns(fields)
      const tag = await db.transaction(async (tx) => {
        const now = new Date(clock.now())
        const stamp = { created_at: now, created_by: actorOf(by.actor), updated_at: now }
        await insertTag(tx, { ...row, ...stamp, tag_name: name }).catch((error: unknown) => {
          throw alreadyExists(error) ? new GatewayError('already_exists', `Tag ${name} already exists`, { param: 'name' }) : error
        })
        const made = await link(tx, await mustFind(tx, name), fields, by)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'created', 'tags', name, null, made))
        return made
      })
      await announce(name)
      return tag
    },

    async update(fields, by) {
      const { name } = fields
      const row = tagColumns(fields)
      const tag = await db.transaction(async (tx) => {
        const before = await mustFind(tx, name, true)
        const [old] = await shownAll(tx, [before])
        await updateTag(tx, name, { ...row, updated_at: new Date(clock.now()) })
        const after = await link(tx, before, fields, by)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'updated', 'tags', name, old, after))
        return after
      })
      await announce(name)
      return tag
    },

    async remove(name, by) {
      await db.transaction(async (tx) => {
        const [gone] = await shownAll(tx, [await mustFind(tx, name, true)])
        await archiveRows(tx, 'tags', [{ id: name, row: gone }], actorOf(by.actor))
        await deleteTag(tx, name)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'deleted', 'tags', name, gone, null))
      })
      await announce(name)
    },

    async info(names) {
      const tags = await shownAll(db, await findTags(db, names))
      return Object.fromEntries(tags.map((tag) => [String(tag['name']), tag]))
    },

    async list() {
      return shownAll(db, await listTags(db))
    },

    distinct: () => distinctTags(db, MOST),

    async summary(filter) {
      const rows = await summarizeTags(db, filter, MOST)
      return rows.map(({ spend_nano, ...row }) => ({ ...row, total_spend: dollars(spend_nano) }))
    },

    active: (days, tags) => activeUsers(db, { today: dayOf(clock.now()), days, periods: PERIODS, tags }, MOST),

    async use(tags, { page, size }) {
      const from = dayOf(clock.now() - (USE_DAYS - 1) * DAY)
      const { rows, total } = await tagUse(db, { from, tags }, { limit: size, offset: (page - 1) * size })
      return { rows: rows.map(({ spend_nano, ...row }) => ({ ...row, spend: dollars(spend_nano) })), total }
    },
  }
}

/** The UTC day, YYYY-MM-DD. */
function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10)
}

function shown(row: TagView, budget: BudgetRow | null): Record<string, unknown> {
  const { tag_name, spend_nano, reset_at, ...rest } = row
  return {
    name: tag_name,
    ...rest,
    spend: dollars(spend_nano),
    litellm_budget_table: budget === null ? null : budgetObject(budget, reset_at),
  }
}

async function mustFind(tx: Transaction, name: string, lock = false): Promise<TagView> {
  const [row] = await findTags(tx, [name], lock)
  if (row === undefined) throw new GatewayError('not_found', `Tag ${name} not found`, { param: 'name' })
  return row
}
