import type { Identity } from '../../proto/identity.ts'
import { scopes } from '../../proto/limits.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import { hashKey } from '../../shared/config/secrets.ts'
import type { Counters, Spent } from '../../shared/counters/counters.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { alreadyExists } from '../../shared/db/sql-state.ts'
import { GatewayError } from '../../shared/errors.ts'
import { virtualKey } from '../../shared/ids.ts'
import type { Log } from '../../shared/log.ts'
import { dollars, nanoField } from '../dollars.ts'
import { timeAfter } from '../ledger/budgets.ts'
import { archiveRows } from '../sql/archive.ts'
import { type AuditAction, audit } from '../sql/audit.ts'
import {
  deleteKeys,
  deprecateKey,
  dueForRotation,
  findKey,
  findKeys,
  guaranteedKeys,
  insertKey,
  type KeyRow,
  type KeyView,
  lockOrganization,
  lockTeam,
  namesOfUsers,
  type TeamOfKeys,
  tokensOfTeam,
  updateKey,
} from '../sql/keys.ts'
import { findSpends, renameSpends, setSpend } from '../sql/limits.ts'
import { type Memberships, membershipsOf } from '../sql/memberships.ts'
import { actorOf, adminOnly, changesKey, isAdmin, memberMay, owns, roleOf, runsKey, runsTeam, seesKey } from './access.ts'
import { auditEntry } from './audit.ts'
import { shown } from './authenticate.ts'
import { badRequest, requireBudget, scheduleOwner, zoneOf } from './budgets.ts'
import { columnsOf, type KeyFields, keyInfo, keyInfoWithUsage, keyObject, tokenOf } from './key-fields.ts'
import { withConfigLimits, withinBounds } from './key-limits.ts'
import { createKeyLists, type KeyLists } from './key-lists.ts'
import { refuseRaise, requireAlias, requireGenerationSettings, requireMayGenerate, requireThroughput } from './key-rules.ts'
import { extraWindows, keyOwner } from './limits.ts'
import { type Identities, masterIdentity } from './publish.ts'
import type { Writer } from './writer.ts'

export { tokenOf } from './key-fields.ts'

/** The rules of virtual keys. Keys are named by themselves or by their hash; others' keys look like missing ones. */
export interface Keys extends KeyLists {
  generate(fields: KeyFields, by: Writer): Promise<Record<string, unknown>>
  /** A key of a team without a user. */
  generateServiceAccount(fields: KeyFields, by: Writer): Promise<Record<string, unknown>>
  /** Without `key` the caller's own. */
  info(key: string | undefined, actor: Identity): Promise<Record<string, unknown>>
  infos(keys: readonly string[], actor: Identity): Promise<Record<string, unknown>>
  update(fields: KeyFields & { key: string }, by: Writer): Promise<Record<string, unknown>>
  /** The same for many: one that fails does not keep the others from changing. */
  updateMany(updates: readonly (KeyFields & { key: string })[], by: Writer): Promise<Record<string, unknown>>
  /** The same fields for keys of a team, or for all of them (null). */
  updateTeam(teamId: string, keys: readonly string[] | null, fields: KeyFields, by: Writer): Promise<Record<string, unknown>>
  remove(keys: readonly string[], aliases: readonly string[], by: Writer): Promise<Record<string, unknown>>
  setBlocked(key: string, blocked: boolean, by: Writer): Promise<Record<string, unknown>>
  /** `to`: dollars, at most what is spent. */
  resetSpend(key: string, to: unknown, by: Writer): Promise<Record<string, unknown>>
  /** Another key in place of this one, with its limits and its spend; `fields` override. The old one works on for `grace_period`. */
  regenerate(key: string, fields: KeyFields, by: Writer): Promise<Record<string, unknown>>
  /** Rotates every key that asks for it and is due. */
  rotateDue(): Promise<void>
}

/** What one write does to a key. */
interface Change {
  action: AuditAction
  columns: Partial<KeyRow>
  /** Nano-dollars it has spent from now on; absent = what it has. */
  spend?: number | undefined
}

/** Keys rotated in one run; the rest is done in the next. */
const ROTATED_AT_ONCE = 500

export function createKeys(deps: {
  db: Database
  identities: Identities
  counters: Pick<Counters, 'book'>
  config: () => Config
  env: Record<string, string | undefined>
  clock: Clock
  log: Log
}): Keys {
  const { db, identities, clock, config, log } = deps

  /** Tells counters and edges what was committed. Counters that cannot be told learn it with the next identity or booking. */
  async function announce(tokens: readonly string[], spents: readonly Spent[]): Promise<void> {
    for (const token of tokens) identities.changed(token)
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
  async function requireSound(tx: Transaction, key: KeyView, columns: Partial<KeyRow>): Promise<void> {
    if (columns.budget_id != null) await requireBudget(tx, columns.budget_id)
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

  /** An admin's key is an admin: only an admin may get hold of one. */
  async function requireNoAdmin(tx: Transaction, userId: string | null, actor: Identity, path: string): Promise<void> {
    if (userId === null || isAdmin(actor) || userId === actor.userId) return
    const [user] = await namesOfUsers(tx, [userId])
    const role = roleOf(user?.user_role)
    if (role === 'proxy_admin' || role === 'proxy_admin_viewer') throw adminOnly(actor, path)
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
    await requireSound(tx, changed, change.columns)
    const after = await mustFind(tx, token)
    const [was, is] = [keyInfo(before), keyInfo(after)]
    await audit(tx, auditEntry(by.actor, by.changedBy, change.action, 'keys', token, was, is))
    return { after, spents }
  }

  /** One write to the key that `by` may do `path` to. */
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

  async function generate(asked: KeyFields, by: Writer, path: string): Promise<Record<string, unknown>> {
    const { actor } = by
    const memberships = await membershipsOf(db, actor.userId)
    const now = clock.now()
    const limited = withConfigLimits(asked, config(), now)
    const key = typeof limited['key'] === 'string' ? limited['key'] : virtualKey()
    if (!key.startsWith('sk-')) throw badKey('key')
    const token = hashKey(key)
    const { fields, stored, spents } = await db.transaction(async (tx) => {
      const team = typeof limited['team_id'] === 'string' ? ((await lockTeam(tx, limited['team_id'])) ?? null) : null
      const fields = requireMayGenerate(limited, actor, memberships, team, path)
      if (!isAdmin(actor) && fields['user_id'] == null && path !== SERVICE_ACCOUNT) fields['user_id'] = actor.userId
      await requireNoAdmin(tx, (fields['user_id'] as string | null | undefined) ?? null, actor, path)
      requireGenerationSettings(fields, actor, memberships, config(), team)
      requireAlias(fields['key_alias'], config())
      const columns = columnsOf(fields, now)
      const stamp = {
        created_at: new Date(now),
        updated_at: new Date(now),
        created_by: actorOf(actor),
        updated_by: actorOf(actor),
      }
      const row = { ...columns, ...stamp, ...rotation(columns, now), token, key_name: nameOf(key) }
      await insertKey(tx, { ...row, ...organizationOf(columns, team) }).catch((error: unknown) => {
        throw alreadyExists(error) ? taken(error, columns.key_alias) : error
      })
      const spend = fields['spend'] == null ? null : nanoField(fields['spend'], 'spend')
      // A row left over from another life of this hash is not this key's spend.
      const spents = [await setSpend(tx, scopes.key(token), spend ?? 0)]
      const made = await mustFind(tx, token)
      await schedule(tx, made)
      await requireSound(tx, made, columns)
      const stored = await mustFind(tx, token)
      await audit(tx, auditEntry(actor, by.changedBy, 'created', 'keys', token, null, keyInfo(stored)))
      return { fields, stored, spents }
    })
    // An edge may remember that nobody had this key.
    await announce([token], spents)
    return { ...echo(fields), ...keyObject(stored), key }
  }

  async function update({ key, ...asked }: KeyFields & { key: string }, by: Writer): Promise<Record<string, unknown>> {
    const { after } = await write(key, by, '/key/update', async (before, memberships, tx) => {
      const fields = withinBounds(asked, config(), clock.now())
      requireAlias(fields['key_alias'], config())
      const team = await requireMayMove(tx, before, fields, by.actor, memberships)
      const columns = columnsOf(fields, clock.now(), before.metadata)
      return {
        action: 'updated',
        columns: { ...columns, ...organizationOf(columns, team), ...rotation({ ...before, ...columns }, clock.now(), columns) },
        spend: spendIn(fields),
      }
    })
    return { key, ...keyObject(after) }
  }

  /** What only some may change: who owns a key, what it has spent, whether an admin's block holds. The team it moves to, if it does. */
  async function requireMayMove(
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

  async function updateMany(updates: readonly (KeyFields & { key: string })[], by: Writer): Promise<Record<string, unknown>> {
    const successful: unknown[] = []
    const failed: unknown[] = []
    for (const fields of updates) {
      try {
        successful.push({ key: fields.key, key_info: await update(fields, by) })
      } catch (error) {
        if (!(error instanceof GatewayError) || error.status >= 500) throw error
        failed.push({ key: fields.key, key_info: null, failed_reason: error.message })
      }
    }
    return { total_requested: updates.length, successful_updates: successful, failed_updates: failed }
  }

  /** The hash of `before` becomes that of a new key. */
  function rotated(before: KeyView, key: string, fields: KeyFields, now: number): Partial<KeyRow> {
    const columns = columnsOf(fields, now, before.metadata)
    return { ...columns, ...rotation({ ...before, ...columns }, now), token: hashKey(key), key_name: nameOf(key) }
  }

  /** When a hash that is replaced now stops working. */
  function revokedAt(grace: unknown, now: number): Date {
    const period = typeof grace === 'string' ? grace : (deps.env['LITELLM_KEY_ROTATION_GRACE_PERIOD'] ?? '')
    return new Date(period === '' ? now : timeAfter(now, period))
  }

  async function rotateOne(token: string): Promise<void> {
    const now = clock.now()
    const by: Writer = { actor: masterIdentity(), changedBy: 'key_rotation' }
    const key = virtualKey()
    const { key_name } = (
      await write(token, by, REGENERATE, async (before, _, tx) => {
        await deprecateKey(tx, before.token, hashKey(key), revokedAt(undefined, now))
        const counted = { rotation_count: before.rotation_count + 1, last_rotation_at: new Date(now) }
        return { action: 'rotated', columns: { ...rotated(before, key, {}, now), ...counted } }
      })
    ).after
    log.info({ keyName: key_name }, 'a key was rotated')
  }

  return {
    ...createKeyLists(db),

    generate: (asked, by) => generate({ ...asked }, by, '/key/generate'),

    generateServiceAccount(asked, by) {
      if (typeof asked['team_id'] !== 'string') throw badRequest('team_id', 'A service account is of a team: name its team_id.')
      const metadata = (asked['metadata'] as Record<string, unknown> | null | undefined) ?? {}
      const id = metadata['service_account_id'] ?? asked['key_alias'] ?? asked['team_id']
      return generate({ ...asked, user_id: null, metadata: { ...metadata, service_account_id: id } }, by, SERVICE_ACCOUNT)
    },

    async info(key, actor) {
      const memberships = await membershipsOf(db, actor.userId)
      const row = await findKey(db, tokenOf(key ?? actor.keyHash))
      if (row === undefined || !seesKey(actor, memberships, ownersOf(row))) throw notFound(key)
      const { scope, own, budget } = keyOwner(row, row.budget, { keyParallel: null })
      const models = extraWindows({ scope, own: own ?? null, budget: budget ?? null })
      const spends = await findSpends(
        db,
        models.map((window) => window.scope),
      )
      return { key: key ?? actor.keyHash, info: keyInfoWithUsage(row, spends) }
    },

    async infos(keys, actor) {
      const memberships = await membershipsOf(db, actor.userId)
      const rows = await findKeys(db, keys.map(tokenOf), [])
      const seen = rows.filter((row) => seesKey(actor, memberships, ownersOf(row)))
      if (seen.length === 0) throw notFound(keys[0])
      return { key: keys, info: seen.map((row) => ({ token: row.token, ...keyInfo(row) })) }
    },

    update,

    updateMany,

    async updateTeam(teamId, keys, fields, by) {
      const tokens = await tokensOfTeam(db, teamId)
      const asked = keys === null ? tokens : keys
      const ofTeam = new Set(tokens)
      const strange = asked.find((key) => !ofTeam.has(tokenOf(key)))
      if (strange !== undefined) throw notFound(strange)
      return updateMany(
        asked.map((key) => ({ ...fields, key })),
        by,
      )
    },

    async remove(keys, aliases, by) {
      const { actor } = by
      if (!isAdmin(actor) && actor.userId === null) throw adminOnly(actor, '/key/delete')
      const memberships = await membershipsOf(db, actor.userId)
      const deleted = await db.transaction(async (tx) => {
        const rows = await findKeys(tx, keys.map(tokenOf), aliases, true)
        const mine = rows.filter((row) => mayChange(actor, memberships, row, '/key/delete'))
        if (mine.length === 0) throw notFound(keys[0])
        const gone = mine.map((row) => ({ id: row.token, row: keyInfo(row) }))
        await archiveRows(tx, 'keys', gone, by.changedBy ?? actorOf(actor))
        await deleteKeys(
          tx,
          gone.map(({ id }) => id),
        )
        for (const { id, row } of gone) await audit(tx, auditEntry(actor, by.changedBy, 'deleted', 'keys', id, row, null))
        return gone.map(({ id }) => id)
      })
      await announce(deleted, [])
      // Said back as they were named: by key or hash first, the rest by the hash their alias stood for.
      const left = new Set(deleted)
      const named = keys.filter((key) => left.delete(tokenOf(key)))
      return { deleted_keys: [...named, ...left] }
    },

    async setBlocked(key, blocked, by) {
      const path = blocked ? '/key/block' : '/key/unblock'
      const { after } = await write(key, by, path, () => ({ action: blocked ? 'blocked' : 'unblocked', columns: { blocked } }))
      return { token: after.token, ...keyInfo(after) }
    },

    async resetSpend(key, to, by) {
      const { before, after } = await write(key, by, '/key/reset_spend', (before) => {
        const spend = nanoField(to, 'reset_to') ?? 0
        if (spend < 0 || spend > before.spend_nano) {
          throw badRequest('reset_to', `reset_to must be between 0 and the current spend of the key.`)
        }
        return { action: 'updated', columns: {}, spend }
      })
      const { max_budget, budget_reset_at, spend } = keyInfo(after)
      return { key_hash: after.token, spend, previous_spend: dollars(before.spend_nano), max_budget, budget_reset_at }
    },

    async regenerate(key, asked, by) {
      const { new_key, new_master_key, grace_period, key: _, ...overrides } = asked
      if (new_master_key != null)
        throw badRequest('new_master_key', 'The master key is set in the configuration or the environment: change it there.')
      const made = typeof new_key === 'string' ? new_key : virtualKey()
      if (!made.startsWith('sk-')) throw badKey('new_key')
      const now = clock.now()
      const { after } = await write(key, by, REGENERATE, async (before, memberships, tx) => {
        await requireNoAdmin(tx, before.user_id, by.actor, REGENERATE)
        if (
          Object.values(overrides).some((value) => value !== undefined) &&
          !mayChange(by.actor, memberships, before, '/key/update')
        )
          throw adminOnly(by.actor, '/key/update')
        const fields = withinBounds(overrides, config(), now)
        requireAlias(fields['key_alias'], config())
        const team = await requireMayMove(tx, before, fields, by.actor, memberships)
        if (before.token !== hashKey(made)) await deprecateKey(tx, before.token, hashKey(made), revokedAt(grace_period, now))
        const columns = rotated(before, made, fields, now)
        return { action: 'rotated', columns: { ...columns, ...organizationOf(columns, team) }, spend: spendIn(fields) }
      })
      return { ...echo(overrides), ...keyObject(after), key: made }
    },

    async rotateDue() {
      for (const token of await dueForRotation(db, new Date(clock.now()), ROTATED_AT_ONCE)) {
        await rotateOne(token).catch((error: unknown) => log.error({ err: error }, 'a key could not be rotated'))
      }
    },
  }
}

/** Columns that decide whether guaranteed throughput fits. */
const THROUGHPUT = ['tpm_limit', 'rpm_limit', 'metadata', 'team_id', 'organization_id'] as const
const REGENERATE = '/key/regenerate'
const SERVICE_ACCOUNT = '/key/service-account/generate'
/** What only whoever runs a key may do to it: not its owner. */
const RUNNING: readonly string[] = ['/key/block', '/key/unblock', '/key/reset_spend']

/**
 * Whether `actor` may do `path` to a key. The owner of a key of a team may use and drop it; its limits are the team's to set, unless it
 * lets its members.
 */
function mayChange(actor: Identity, memberships: Memberships, key: KeyView, path: string): boolean {
  const owners = ownersOf(key)
  if (!changesKey(actor, memberships, owners, path)) return false
  if (runsKey(actor, memberships, owners) || !owns(actor, owners)) return true
  if (RUNNING.includes(path)) return key.team_id !== null && memberMay(memberships, key.team_id, path)
  return key.team_id === null || path !== '/key/update' || memberMay(memberships, key.team_id, path)
}

function ownersOf(key: KeyView): Parameters<typeof seesKey>[2] {
  return { token: key.token, user_id: key.user_id, team_id: key.team_id, organization_id: key.owner_organization_id }
}

async function mustFind(tx: Transaction, token: string): Promise<KeyView> {
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
function rotation(key: Partial<KeyRow>, now: number, changed: Partial<KeyRow> = key): Partial<KeyRow> {
  if (changed.auto_rotate === undefined && changed.rotation_interval === undefined) return {}
  const interval = key.auto_rotate === true ? (key.rotation_interval ?? null) : null
  return { key_rotation_at: interval === null ? null : new Date(timeAfter(now, interval)) }
}

function spendIn(fields: KeyFields): number | undefined {
  return fields['spend'] == null ? undefined : (nanoField(fields['spend'], 'spend') ?? undefined)
}

/** `sk-...` and the last four characters; nothing of a key that is mostly those. */
function nameOf(key: string): string {
  return key.length >= 12 ? `sk-...${key.slice(-4)}` : 'sk-...'
}

/** A key of a team belongs to the team's organization, unless that is said and differs. */
function organizationOf(columns: Partial<KeyRow>, team: TeamOfKeys | null): Partial<KeyRow> {
  if (team === null || team.organization_id === null) return {}
  if (columns.organization_id != null && columns.organization_id !== team.organization_id) {
    throw badRequest('organization_id', `organization_id is not that of team ${team.team_id}.`)
  }
  return { organization_id: team.organization_id }
}

/** What was asked for is said back, also where nothing is stored under that name. */
function echo(fields: KeyFields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

function notFound(key: string | undefined): GatewayError {
  const name = key === undefined ? '' : ` ${key.startsWith('sk-') ? shown(key) : key}`
  return new GatewayError('not_found', `Key${name} not found in database.`, { param: 'key' })
}

function badKey(param: string): GatewayError {
  return badRequest(param, "Invalid key format. LiteLLM Virtual Key must start with 'sk-'.")
}

/** Which of the two unique things was taken. */
function taken(error: unknown, alias: string | null | undefined): GatewayError {
  const constraint = typeof error === 'object' && error !== null && 'constraint' in error ? error.constraint : null
  if (constraint !== 'keys_alias') return badRequest('key', 'This key already exists.')
  return badRequest('key_alias', `Key with alias '${alias ?? ''}' already exists. Aliases are unique across all keys.`)
}
