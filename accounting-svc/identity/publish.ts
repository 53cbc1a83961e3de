import { adminIdentity, type Identity, type IdentityReply, type IdentityRequest, MASTER_KEY_ALIAS } from '../../proto/identity.ts'
import { QUEUE } from '../../proto/subjects.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import { hashKey, sameSecret } from '../../shared/config/secrets.ts'
import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { findIdentity, type IdentityRow } from '../sql/keys.ts'
import { roleOf } from './access.ts'

export interface Identities {
  /** Who the key of this hash is; null when nobody. Throws GatewayError `accounting_away` while the database is away. */
  find(keyHash: string): Promise<Identity | null>
  /** Tells every process to forget the key of this hash. */
  changed(keyHash: string): void
  /** Everybody, when no master key is set. */
  readonly open: boolean
}

/** The one place that turns a key hash into an Identity. `masterKey` null: the gateway is open and every caller is its admin. */
export function createIdentities(deps: { db: Database; bus: Bus; masterKey: string | null }): Identities {
  const { db, bus } = deps
  // An empty key is none: its hash must not open the gateway to whoever sends nothing.
  const masterHash = deps.masterKey === null || deps.masterKey === '' ? null : hashKey(deps.masterKey)
  return {
    open: masterHash === null,
    async find(keyHash) {
      if (masterHash !== null && sameSecret(keyHash, masterHash)) return masterIdentity()
      const row = await findIdentity(db, keyHash).catch((error: unknown) => {
        // Said the way clients of LiteLLM know it (surface reference §2.5).
        throw error instanceof GatewayError ? new GatewayError('accounting_away', undefined, { cause: error.cause }) : error
      })
      return row === undefined ? null : identityOf(row)
    },
    changed(keyHash) {
      bus.announce('identity', { keyHash })
    },
  }
}

/** Answers edges that ask who a key is. */
export function serveIdentities(bus: Bus, identities: Identities): Service {
  return bus.respond(bus.subjects.identity, QUEUE.accounting, async (payload): Promise<IdentityReply> => {
    const { keyHash } = payload as IdentityRequest
    const identity = typeof keyHash === 'string' ? await identities.find(keyHash) : null
    return identity === null ? { v: WIRE_VERSION, unknown: true } : { v: WIRE_VERSION, identity }
  })
}

/** The holder of the master key. Its hash stays here: records carry a fixed name instead (surface reference §0). */
export function masterIdentity(): Identity {
  return adminIdentity(MASTER_KEY_ALIAS)
}

/** Rows → what the request path needs to know. Pure. */
export function identityOf({ key, user, team }: IdentityRow): Identity {
  return {
    v: WIRE_VERSION,
    keyHash: key.token,
    keyName: key.key_name,
    keyAlias: key.key_alias,
    role: roleOf(user?.user_role),
    userId: key.user_id,
    userEmail: user?.user_email ?? null,
    teamId: key.team_id,
    teamAlias: team?.team_alias ?? null,
    organizationId: key.organization_id ?? team?.organization_id ?? null,
    models: modelsOf(key.models, team?.models ?? null, key.team_id === null ? (user?.models ?? null) : null),
    aliases: { ...texts(team?.model_aliases ?? {}), ...texts(key.aliases) },
    allowedRoutes: key.allowed_routes,
    blocked: key.blocked === true,
    teamBlocked: team?.blocked === true,
    expires: key.expires === null ? null : key.expires.getTime(),
    metadata: key.metadata,
    tags: strings(key.metadata['tags']),
    spend: key.spend_nano,
    maxBudget: key.max_budget_nano,
    rpmLimit: key.rpm_limit,
    tpmLimit: key.tpm_limit,
    projectId: key.project_id,
    limits: [],
    enforcedParams: strings(key.metadata['enforced_params']),
    estimatedOutputTokens: key.default_estimated_output_tokens,
    estimatedOutputTokensPerModel: {},
    budgetFallbacks: {},
  }
}

const EVERYTHING = ['*', 'all-proxy-models']
/** A name no model group has: the list that allows nothing, since an empty one allows everything. */
const NOTHING = ['no-default-models']

/**
 * One list out of those of the key and of the team, or of the user when there is no team (surface reference §2.4): what both allow.
 * A key may name one of a team's wildcards more narrowly, never more widely.
 */
export function modelsOf(own: readonly string[], team: readonly string[] | null, user: readonly string[] | null): string[] {
  const parent = allowsAll(team ?? user) ? [] : [...(team ?? user ?? [])]
  if (own.includes('all-team-models') || allowsAll(own)) return parent
  if (parent.length === 0) return [...own]
  const both = own.filter((name) => parent.some((entry) => covers(entry, name)))
  const narrower = parent.filter(
    (name) => !both.includes(name) && own.some((entry) => entry.includes('*') && covers(entry, name)),
  )
  return both.length + narrower.length === 0 ? [...NOTHING] : [...both, ...narrower]
}

function allowsAll(list: readonly string[] | null): boolean {
  return list === null || list.length === 0 || list.some((name) => EVERYTHING.includes(name))
}

function covers(entry: string, name: string): boolean {
  if (!entry.includes('*')) return entry === name
  const pattern = entry.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${pattern.join('.*')}$`).test(name)
}

function texts(map: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(map).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : []
}
