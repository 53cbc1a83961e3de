import type { Identity } from '../../proto/identity.ts'
import { hashKey } from '../../shared/config/secrets.ts'
import { GatewayError } from '../../shared/errors.ts'
import { virtualKey } from '../../shared/ids.ts'
import { dollars, nanoField } from '../dollars.ts'
import { archiveRows } from '../sql/archive.ts'
import { audit } from '../sql/audit.ts'
import { deleteKeys, findKey, findKeys, lockTeam, tokensOfTeam } from '../sql/keys.ts'
import { findSpends } from '../sql/limits.ts'
import { membershipsOf } from '../sql/memberships.ts'
import { actorOf, adminOnly, isAdmin, seesKey } from './access.ts'
import { auditEntry } from './audit.ts'
import { badRequest } from './budgets.ts'
import { columnsOf, echo, type KeyFields, keyInfo, keyInfoWithUsage, keyObject, tokenOf } from './key-fields.ts'
import { withConfigLimits, withinBounds } from './key-limits.ts'
import { createKeyLists, type KeyLists } from './key-lists.ts'
import { createKeyRotation, type KeyRotation } from './key-rotation.ts'
import { requireAlias, requireGenerationSettings, requireMayGenerate } from './key-rules.ts'
import {
  badKey,
  createKeyWrites,
  type KeyWriteDeps,
  mayChange,
  nameOf,
  notFound,
  organizationOf,
  ownersOf,
  requireMayMove,
  requireNoAdmin,
  rotation,
  spendIn,
} from './key-writes.ts'
import { extraWindows, keyOwner } from './limits.ts'
import type { Writer } from './writer.ts'

export { tokenOf } from './key-fields.ts'

/** The rules of virtual keys. Keys are named by themselves or by their hash; others' keys look like missing ones. */
export interface Keys extends KeyLists, KeyRotation {
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
}

export function createKeys(deps: KeyWriteDeps & { env: Record<string, string | undefined> }): Keys {
  const { db, clock, config } = deps
  const writes = createKeyWrites(deps)
  const { write, announce } = writes

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
      // Keys of members end when their team says, unless they are asked to end at another time.
      const lasts = team?.metadata['team_member_key_duration']
      if (asked['duration'] == null && fields['user_id'] != null && typeof lasts === 'string') fields['duration'] = lasts
      requireGenerationSettings(fields, actor, memberships, config(), team)
      requireAlias(fields['key_alias'], config())
      const columns = columnsOf(withinBounds(fields, config(), now), now)
      const stamp = {
        created_at: new Date(now),
        updated_at: new Date(now),
        created_by: actorOf(actor),
        updated_by: actorOf(actor),
      }
      const named = { token, key_name: nameOf(key) }
      const row = { ...columns, ...stamp, ...rotation(columns, now), ...organizationOf(columns, team), ...named }
      return { fields, ...(await writes.insert(tx, row, spendIn(fields) ?? 0, by)) }
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

  return {
    ...createKeyLists(db),
    ...createKeyRotation(deps, writes),

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
  }
}

const SERVICE_ACCOUNT = '/key/service-account/generate'
