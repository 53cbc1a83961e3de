import type { Identity } from '../../proto/identity.ts'
import { scopes } from '../../proto/limits.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Counters, Spent } from '../../shared/counters/counters.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { alreadyExists } from '../../shared/db/sql-state.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { nanoField } from '../dollars.ts'
import { timeAfter } from '../ledger/budgets.ts'
import { type AuditAction, audit } from '../sql/audit.ts'
import {
  findKey,
  guaranteedKeys,
  insertKey,
  type KeyRow,
  type KeyView,
  lockOrganization,
  lockTeam,
  namesOfUsers,
  type TeamOfKeys,
  teamOfProject,
  updateKey,
} from '../sql/keys.ts'
import { renameSpends, setSpend } from '../sql/limits.ts'
import { type Memberships, membershipsOf } from '../sql/memberships.ts'
import { actorOf, adminOnly, changesKey, isAdmin, memberMay, owns, roleOf, runsKey, runsTeam, seesKey } from './access.ts'
import { auditEntry } from './audit.ts'
import { shown } from './authenticate.ts'
import { badRequest, requireBudget, scheduleOwner, zoneOf } from './budgets.ts'
import { type KeyFields, keyInfo, tokenOf } from './key-fields.ts'
import { refuseRaise, requireThroughput } from './key-rules.ts'
import { extraWindows, keyOwner } from './limits.ts'
import type { Identities } from './publish.ts'
import type { Writer } from './writer.ts'

export interface KeyWriteDeps {
  db: Database
  identities: Identities
  counters: Pick<Counters, 'book'>
  config: () => Config
  clock: Clock
  log: Log
}

/** What one write does to a key. */
export interface Change {
  action: AuditAction
  columns: Partial<KeyRow>
  /** Nano-dollars it has spent from now on; absent = what it has. */
  spend?: number | undefined
}
/** What happens around every write to a key: locks, rights, spend, windows, audit, and telling who must know. */
export interface KeyWrites {
  /** Adds a key that has spent `spend` nano-dollars, in the caller's transaction; what counters are to be told. */
  insert(
    tx: Transaction,
    row: Partial<KeyRow> & Pick<KeyRow, 'token' | 'key_name'>,
    spend: number,
    by: Writer,
  ): Promise<{ stored: KeyView; spents: Spent[] }>
  /** One write to the key that `by` may do `path` to. Throws GatewayError `not_found` for keys they may not see, else `admin_only`. */
  write(
    key: string,
    by: Writer,
    path: string,
    make: (before: KeyView, memberships: Memberships, tx: Transaction) => Promise<Change> | Change,
  ): Promise<{ before: KeyView; after: KeyView }>
  /** Tells counters and edges what was committed. */
  announce(tokens: readonly string[], spents: readonly Spent[]): Promise<void>
}

export function createKeyWrites(deps: KeyWriteDeps): KeyWrites {
  const { db, identities, clock, config, log } = deps

  /** Counters that cannot be told learn it with the next identity or booking. */
  async function announce(tokens: readonly string[], spents: readonly Spent[]): Promise<void> {
    identities.changed(tokens)
    if (spents.length === 0) return
    await deps.counters.book([], spents).catch((error: unknown) => {
      log.warn({ err: error }, 'the counters could not be told what keys have spent')
    })
  }

  function schedule(tx: Transaction, key: KeyView): Promise<void> {
    const duration = key.budget_duration ?? key.budget?.budget_duration ?? null
    return scheduleOwner(tx, keyOwner(key, key.budget, { keyParallel: null }), duration, clock.now(), zoneOf(config()))
  }

  /** What must hold of a key whoever writes `columns` of it. */
  async function requireSound(tx: Transaction, key: KeyView, columns: Partial<KeyRow>, actor: Identity): Promise<void> {
    if (columns.budget_id != null) await requireBudget(tx, columns.budget_id)
    // A project pays for its keys: nobody puts theirs into one of another team.
    if (columns.project_id != null && !isAdmin(actor) && (await teamOfProject(tx, columns.project_id)) !== key.team_id) {
      throw badRequest('project_id', `Project ${columns.project_id} is not one of the team of this key.`)
    }
    if (!THROUGHPUT.some((name) => columns[name] !== undefined)) return
    const team = key.team_id === null ? undefined : await lockTeam(tx, key.team_id)
    if (team !== undefined) {
      requireThroughput(key, await guaranteedKeys(tx, { teamId: team.team_id }, key.token), team, 'team')
    }
    const organization = key.organization_id === null ? undefined : await lockOrganization(tx, key.organization_id)
    if (organization !== undefined && key.organization_id !== null) {
      const others = await guaranteedKeys(tx, { organizationId: key.organization_id }, key.token)
      requireThroughput(key, others, organization, 'organization')
    }
  }

  /** Changes a key that is there and locked. `token` in the columns gives it another hash, and its spend that one's name. */
  async function apply(
    tx: Transaction,
    before: KeyView,
    change: Change,
    by: Writer,
  ): Promise<{ after: KeyView; spents: Spent[] }> {
    const stamp = { updated_at: new Date(clock.now()), updated_by: actorOf(by.actor) }
    await updateKey(tx, before.token, { ...change.columns, ...stamp }).catch((error: unknown) => {
      throw alreadyExists(error) ? taken(error, change.columns.key_alias) : error
    })
    const token = change.columns.token ?? before.token
    const spents = token === before.token ? [] : await renameSpends(tx, spendNames(before, token))
    if (change.spend !== undefined) spents.push(await setSpend(tx, scopes.key(token), change.spend))
    const changed = await mustFind(tx, token)
    await schedule(tx, changed)
    await requireSound(tx, changed, change.columns, by.actor)
    const after = await mustFind(tx, token)
    const [was, is] = [keyInfo(before), keyInfo(after)]
    await audit(tx, auditEntry(by.actor, by.changedBy, change.action, 'keys', token, was, is))
    return { after, spents }
  }

  async function write(
    key: string,
    by: Writer,
    path: string,
    make: (before: KeyView, memberships: Memberships, tx: Transaction) => Promise<Change> | Change,
  ): Promise<{ before: KeyView; after: KeyView }> {
    const memberships = await membershipsOf(db, by.actor.userId)
    const done = await db.transaction(async (tx) => {
      const before = await findKey(tx, tokenOf(key), true)
      if (before === undefined || !seesKey(by.actor, memberships, ownersOf(before))) throw notFound(key)
      if (!mayChange(by.actor, memberships, before, path)) throw adminOnly(by.actor, path)
      return { before, ...(await apply(tx, before, await make(before, memberships, tx), by)) }
    })
    await announce([...new Set([done.before.token, done.after.token])], done.spents)
    return done
  }
  async function insert(
    tx: Transaction,
    row: Partial<KeyRow> & Pick<KeyRow, 'token' | 'key_name'>,
    spend: number,
    by: Writer,
  ): Promise<{ stored: KeyView; spents: Spent[] }> {
    await insertKey(tx, row).catch((error: unknown) => {
      throw alreadyExists(error) ? taken(error, row.key_alias) : error
    })
    // Set also where it is 0: what was left over from another life of this hash is not this key's spend.
    const spents = [await setSpend(tx, scopes.key(row.token), spend)]
    const made = await mustFind(tx, row.token)
    await schedule(tx, made)
    await requireSound(tx, made, row, by.actor)
    const stored = await mustFind(tx, row.token)
    await audit(tx, auditEntry(by.actor, by.changedBy, 'created', 'keys', row.token, null, keyInfo(stored)))
    return { stored, spents }
  }

  return { insert, write, announce }
}

/** An admin's key is an admin: only an admin may get hold of one. */
export async function requireNoAdmin(tx: Transaction, userId: string | null, actor: Identity, path: string): Promise<void> {
  if (userId === null || isAdmin(actor) || userId === actor.userId) return
  const [user] = await namesOfUsers(tx, [userId])
  const role = roleOf(user?.user_role)
  if (role === 'proxy_admin' || role === 'proxy_admin_viewer') throw adminOnly(actor, path)
}

/** What only some may change: who owns a key, what it has spent, whether an admin's block holds. The team it moves to, if it does. */
export async function requireMayMove(
  tx: Transaction,
  before: KeyView,
  fields: KeyFields,
  actor: Identity,
  memberships: Memberships,
): Promise<TeamOfKeys | null> {
  const path = '/key/update'
  const teamId = fields['team_id'] as string | null | undefined
  const moves = teamId !== undefined && teamId !== before.team_id
  const team = moves && teamId !== null ? ((await lockTeam(tx, teamId)) ?? null) : null
  if (isAdmin(actor)) return team
  const runs = runsKey(actor, memberships, ownersOf(before))
  refuseRaise(fields, actor, memberships, runs, path)
  if (moves && (!runs || team === null || !runsTeam(actor, memberships, team))) throw adminOnly(actor, `${path} (team_id)`)
  if (fields['blocked'] != null && fields['blocked'] !== before.blocked && !runs) throw adminOnly(actor, `${path} (blocked)`)
  const userId = fields['user_id'] as string | null | undefined
  if (userId !== undefined && userId !== before.user_id) {
    if (!runs || userId === null) throw adminOnly(actor, `${path} (user_id)`)
    await requireNoAdmin(tx, userId, actor, path)
  }
  return team
}

/** Columns that decide whether guaranteed throughput fits. */
const THROUGHPUT = ['tpm_limit', 'rpm_limit', 'metadata', 'team_id', 'organization_id'] as const
/** What only whoever runs a key may do to it: not its owner. */
const RUNNING: readonly string[] = ['/key/block', '/key/unblock', '/key/reset_spend']

/**
 * Whether `actor` may do `path` to a key. The owner of a key of a team may use and drop it; its limits are the team's to set, unless it
 * lets its members.
 */
export function mayChange(actor: Identity, memberships: Memberships, key: KeyView, path: string): boolean {
  const owners = ownersOf(key)
  if (!changesKey(actor, memberships, owners, path)) return false
  if (runsKey(actor, memberships, owners) || !owns(actor, owners)) return true
  if (RUNNING.includes(path)) return key.team_id !== null && memberMay(memberships, key.team_id, path)
  return key.team_id === null || path !== '/key/update' || memberMay(memberships, key.team_id, path)
}

export function ownersOf(key: KeyView): Parameters<typeof seesKey>[2] {
  return { token: key.token, user_id: key.user_id, team_id: key.team_id, organization_id: key.owner_organization_id }
}

export async function mustFind(tx: Transaction, token: string): Promise<KeyView> {
  const key = await findKey(tx, token)
  if (key === undefined) throw notFound(undefined)
  return key
}

/** Every scope of a key by its name now and by that under another hash. */
function spendNames(key: KeyView, token: string): { from: string; to: string }[] {
  const owner = keyOwner(key, key.budget, { keyParallel: null })
  return [owner.scope, ...extraWindows(owner).map((window) => window.scope)].map((scope) => ({
    from: scope,
    to: `${scopes.key(token)}${scope.slice(owner.scope.length)}`,
  }))
}

/** When a key that rotates by itself is due next; again from now when `changed` says something about it. */
export function rotation(key: Partial<KeyRow>, now: number, changed: Partial<KeyRow> = key): Partial<KeyRow> {
  if (changed.auto_rotate === undefined && changed.rotation_interval === undefined) return {}
  const interval = key.auto_rotate === true ? (key.rotation_interval ?? null) : null
  return { key_rotation_at: interval === null ? null : new Date(timeAfter(now, interval)) }
}

export function spendIn(fields: KeyFields): number | undefined {
  return fields['spend'] == null ? undefined : (nanoField(fields['spend'], 'spend') ?? undefined)
}

/** `sk-...` and the last four characters; nothing of a key that is mostly those. */
export function nameOf(key: string): string {
  return key.length >= 12 ? `sk-...${key.slice(-4)}` : 'sk-...'
}

/** A key of a team belongs to the team's organization, unless that is said and differs. */
export function organizationOf(columns: Partial<KeyRow>, team: TeamOfKeys | null): Partial<KeyRow> {
  if (team === null || team.organization_id === null) return {}
  if (columns.organization_id != null && columns.organization_id !== team.organization_id) {
    throw badRequest('organization_id', `organization_id is not that of team ${team.team_id}.`)
  }
  return { organization_id: team.organization_id }
}

export function notFound(key: string | undefined): GatewayError {
  const name = key === undefined ? '' : ` ${key.startsWith('sk-') ? shown(key) : key}`
  return new GatewayError('not_found', `Key${name} not found in database.`, { param: 'key' })
}

export function badKey(param: string): GatewayError {
  return badRequest(param, "Invalid key format. LiteLLM Virtual Key must start with 'sk-'.")
}

/** Which of the two unique things was taken. */
function taken(error: unknown, alias: string | null | undefined): GatewayError {
  const constraint = typeof error === 'object' && error !== null && 'constraint' in error ? error.constraint : null
  if (constraint !== 'keys_alias') return badRequest('key', 'This key already exists.')
  return badRequest('key_alias', `Key with alias '${alias ?? ''}' already exists. Aliases are unique across all keys.`)
}
