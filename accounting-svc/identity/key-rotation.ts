import { hashKey } from '../../shared/config/secrets.ts'
import { virtualKey } from '../../shared/ids.ts'
import type { Job } from '../jobs/schedule.ts'
import { timeAfter } from '../ledger/budgets.ts'
import { deprecateKey, dueForRotation, type KeyRow, type KeyView } from '../sql/keys.ts'
import { adminOnly } from './access.ts'
import { badRequest } from './budgets.ts'
import { columnsOf, echo, type KeyFields, keyObject } from './key-fields.ts'
import { withinBounds } from './key-limits.ts'
import { requireAlias } from './key-rules.ts'
import {
  badKey,
  type KeyWriteDeps,
  type KeyWrites,
  mayChange,
  nameOf,
  organizationOf,
  requireMayMove,
  requireNoAdmin,
  rotation,
  spendIn,
} from './key-writes.ts'
import { masterIdentity } from './publish.ts'
import type { Writer } from './writer.ts'

export interface KeyRotation {
  /** Another key in place of this one, with its limits and its spend; `fields` override. The old one works on for `grace_period`. */
  regenerate(key: string, fields: KeyFields, by: Writer): Promise<Record<string, unknown>>
  /** Rotates every key that asks for it and is due. */
  rotateDue(): Promise<void>
}

type Environment = Record<string, string | undefined>

const PATH = '/key/regenerate'
/** Keys rotated in one run; the rest is done in the next. */
const ROTATED_AT_ONCE = 500
/** Seconds between two looks for keys to rotate (LiteLLM's default). */
const CHECK_INTERVAL = 86_400

/** Gives keys another hash. */
export function createKeyRotation(deps: KeyWriteDeps & { env: Environment }, { write }: Pick<KeyWrites, 'write'>): KeyRotation {
  const { db, clock, config, log, env } = deps

  /** The hash of `before` becomes that of `key`. */
  function rotated(before: KeyView, key: string, fields: KeyFields, now: number): Partial<KeyRow> {
    const columns = columnsOf(fields, now, before.metadata)
    return { ...columns, ...rotation({ ...before, ...columns }, now), token: hashKey(key), key_name: nameOf(key) }
  }

  /** When a hash that is replaced now stops working. */
  function revokedAt(grace: unknown, now: number): Date {
    const period = typeof grace === 'string' ? grace : (env['LITELLM_KEY_ROTATION_GRACE_PERIOD'] ?? '')
    return new Date(period === '' ? now : timeAfter(now, period))
  }

  async function rotate(token: string): Promise<void> {
    const now = clock.now()
    const by: Writer = { actor: masterIdentity(), changedBy: 'key_rotation' }
    const key = virtualKey()
    const { after } = await write(token, by, PATH, async (before, _, tx) => {
      // Two processes may for a moment both believe that the jobs are theirs.
      if (before.key_rotation_at === null || before.key_rotation_at.getTime() > now)
        throw badRequest('key', 'The key is not due.')
      await deprecateKey(tx, before.token, hashKey(key), revokedAt(undefined, now))
      const counted = { rotation_count: before.rotation_count + 1, last_rotation_at: new Date(now) }
      return { action: 'rotated', columns: { ...rotated(before, key, {}, now), ...counted } }
    })
    log.info({ keyName: after.key_name, keyAlias: after.key_alias }, 'a key was rotated')
  }

  return {
    async regenerate(key, asked, by) {
      const { new_key, new_master_key, grace_period, key: _, ...overrides } = asked
      if (new_master_key != null)
        throw badRequest('new_master_key', 'The master key is set in the configuration or the environment: change it there.')
      const made = typeof new_key === 'string' ? new_key : virtualKey()
      if (!made.startsWith('sk-')) throw badKey('new_key')
      const now = clock.now()
      const { after } = await write(key, by, PATH, async (before, memberships, tx) => {
        await requireNoAdmin(tx, before.user_id, by.actor, PATH)
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
        await rotate(token).catch((error: unknown) => log.warn({ err: error }, 'a key could not be rotated'))
      }
    },
  }
}

/**
 * Rotation of keys with `auto_rotate`, or null where `LITELLM_KEY_ROTATION_ENABLED` does not ask for it: nobody is shown a key made so,
 * its owner regenerates it to get at one while the old works on for LITELLM_KEY_ROTATION_GRACE_PERIOD.
 */
export function keyRotationJob(rotation: Pick<KeyRotation, 'rotateDue'>, env: Environment): Job | null {
  if (env['LITELLM_KEY_ROTATION_ENABLED']?.toLowerCase() !== 'true') return null
  const seconds = Number(env['LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS'])
  const every = (Number.isFinite(seconds) && seconds > 0 ? seconds : CHECK_INTERVAL) * 1000
  return { name: 'key rotation', every, run: () => rotation.rotateDue() }
}
