import type { Deployment } from '../../proto/deployment.ts'
import { adminIdentity, type Identity, type IdentityReply, type IdentityRequest, MASTER_KEY_ALIAS } from '../../proto/identity.ts'
import { scopes } from '../../proto/limits.ts'
import { QUEUE } from '../../proto/subjects.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import { mergedOverrides } from '../../shared/config/routing.ts'
import { hashKey, sameSecret } from '../../shared/config/secrets.ts'
import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { fits } from '../../shared/model-access.ts'
import { findIdentity, type IdentityRow } from '../sql/limits.ts'
import { roleOf } from './access.ts'
import { announceKeys } from './announce-keys.ts'
import { budgetNow, type LimitSettings, limitSettingsOf, limitsOf } from './limits.ts'

export interface Identities {
  /** Who the key of this hash is; null when nobody. Throws GatewayError `accounting_away` while the database is away. */
  find(keyHash: string): Promise<Identity | null>
  /** Tells every process to forget the keys of these hashes. */
  changed(keyHashes: readonly string[]): void
  /** Everybody, when no master key is set. */
  readonly open: boolean
}

/** The one place that turns a key hash into an Identity. `masterKey` null: the gateway is open and every caller is its admin. */
export function createIdentities(deps: {
  db: Database
  bus: Bus
  clock: Clock
  config: () => Config
  /** What is served now: lists of models may name access groups of deployments. */
  deployments: () => readonly Deployment[]
  masterKey: string | null
}): Identities {
  const { db, bus, clock } = deps
  // An empty key is none: its hash must not open the gateway to whoever sends nothing.
  const masterHash = deps.masterKey === null || deps.masterKey === '' ? null : hashKey(deps.masterKey)
  return {
    open: masterHash === null,
    async find(keyHash) {
      if (masterHash !== null && sameSecret(keyHash, masterHash)) return masterIdentity()
      const row = await findIdentity(db, keyHash, new Date(clock.now())).catch((error: unknown) => {
        // Said the way clients of LiteLLM know it (surface reference §2.5).
        throw error instanceof GatewayError ? new GatewayError('accounting_away', undefined, { cause: error.cause }) : error
      })
      return row === undefined ? null : identityOf(row, limitSettingsOf(deps.config()), clock.now(), deps.deployments())
    },
    changed(keyHashes) {
      announceKeys(bus, keyHashes)
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

/** Rows → what the request path needs to know. Pure. `now` is Unix milliseconds. */
export function identityOf(
  row: IdentityRow,
  settings: LimitSettings,
  now: number,
  served: readonly ServedGroup[] = [],
): Identity {
  const { key, keyBudget, user, team, project } = row
  const metadatas = [key.metadata, team?.metadata ?? {}, project?.metadata ?? {}]
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
    projectId: key.project_id,
    models: allowedModels(row, served),
    aliases: { ...texts(team?.model_aliases ?? {}), ...texts(key.aliases) },
    allowedRoutes: key.allowed_routes,
    blocked: key.blocked === true || project?.blocked === true,
    teamBlocked: team?.blocked === true,
    expires: earliest(key.expires, row.revokeAt),
    metadata: key.metadata,
    tags: [...new Set(metadatas.flatMap((metadata) => strings(metadata['tags'])))],
    spend: row.spends[scopes.key(key.token)]?.spent ?? 0,
    maxBudget: budgetNow(key, keyBudget, key.metadata, now),
    rpmLimit: key.rpm_limit ?? keyBudget?.rpm_limit ?? null,
    tpmLimit: key.tpm_limit ?? keyBudget?.tpm_limit ?? null,
    limits: limitsOf(row, settings, now),
    enforcedParams: strings(key.metadata['enforced_params']),
    estimatedOutputTokens: key.default_estimated_output_tokens ?? team?.default_estimated_output_tokens ?? null,
    estimatedOutputTokensPerModel: {
      ...counts(team?.default_estimated_output_tokens_per_model),
      ...counts(key.default_estimated_output_tokens_per_model),
    },
    ...routingParts(row),
    budgetFallbacks: Object.fromEntries(Object.entries(key.budget_fallbacks).map(([model, names]) => [model, strings(names)])),
  }
}

/** What team and key change of routing and caching; nothing for most keys, so that identities stay small. */
function routingParts({ key, team }: IdentityRow): Pick<Identity, 'routing' | 'cacheControls'> {
  const controls = key.allowed_cache_controls
  const routing = mergedOverrides(team?.router_settings, key.router_settings)
  return {
    ...(routing === undefined ? {} : { routing }),
    ...(controls.length === 0 || controls.includes('*') ? {} : { cacheControls: controls }),
  }
}

/** A key that was rotated away ends when it is revoked. */
function earliest(expires: Date | null, revokeAt: Date | null): number | null {
  const times = [expires, revokeAt].flatMap((time) => (time === null ? [] : [time.getTime()]))
  return times.length === 0 ? null : Math.min(...times)
}

/** What key, team (or user), member, organization and project all allow (surface reference §2.4). */
function allowedModels(
  { key, user, team, member, organization, project, groups }: IdentityRow,
  served: readonly ServedGroup[],
): string[] {
  const person = key.user_id !== null
  const parents = [
    team === null ? [] : withGroups(team.models, team.access_group_ids, groups),
    key.team_id === null ? (user?.models ?? []) : [],
    person && team !== null ? memberModels(member?.allowed_models ?? [], team.default_team_member_models) : [],
    organization?.models ?? [],
    project?.models ?? [],
  ]
  return modelsOf(withGroups(key.models, key.access_group_ids, groups), parents, served)
}

function memberModels(own: string[], ofTeam: string[]): string[] {
  return own.length > 0 ? own : ofTeam
}

/**
 * A list with the models of its access groups. A list that names groups only allows what those hold: one that holds no models, but
 * tools, takes nothing away; one that is gone allows nothing.
 */
function withGroups(models: readonly string[], ids: readonly string[], groups: Readonly<Record<string, string[]>>): string[] {
  const granted = ids.flatMap((id) => groups[id] ?? [])
  if (models.length === 0 && granted.length === 0) return ids.every((id) => groups[id] !== undefined) ? [] : [...NOTHING]
  return [...new Set([...models, ...granted])]
}

const EVERYTHING = ['*', 'all-proxy-models']
/** A name no model group has: the list that allows nothing, since an empty one allows everything. */
const NOTHING = ['no-default-models']

/** One way a model group is served, as far as lists of models depend on it. */
type ServedGroup = Pick<Deployment, 'modelGroup' | 'model' | 'provider' | 'accessGroups'>

/**
 * One list out of the key's own and those of whoever else has a say: what all allow. Names, wildcards and access groups of deployments
 * may stand on either side: a key may name more narrowly what its team names widely, never the other way round. Pure.
 */
export function modelsOf(
  own: readonly string[],
  parents: readonly (readonly string[])[],
  served: readonly ServedGroup[] = [],
): string[] {
  const first = own.includes('all-team-models') || allowsAll(own) ? [] : [...own]
  return parents.reduce<string[]>((list, parent) => within(list, parent, served), first)
}

/** What both lists allow. */
function within(own: readonly string[], list: readonly string[], served: readonly ServedGroup[]): string[] {
  const parent = allowsAll(list) ? [] : [...list]
  if (own.length === 0) return parent
  if (parent.length === 0) return [...own]
  const allowed = (name: string): boolean => parent.some((entry) => covers(entry, name, served))
  const kept = own.flatMap((name) => (allowed(name) ? [name] : groupMembers(name, served).filter(allowed)))
  const narrower = parent.filter((name) => own.some((entry) => entry !== name && covers(entry, name, served)))
  return kept.length + narrower.length === 0 ? [...NOTHING] : [...new Set([...kept, ...narrower])]
}

function allowsAll(list: readonly string[]): boolean {
  return list.length === 0 || list.some((name) => EVERYTHING.includes(name))
}

/** Whether who may use `entry` may use `name`, in the way of shared/model-access.ts. */
function covers(entry: string, name: string, served: readonly ServedGroup[]): boolean {
  if (entry === name) return true
  const wild = entry.includes('*')
  if (wild && fits(entry, name)) return true
  const group = groupsOf(served).get(name) ?? []
  return group.some(
    (one) => one.accessGroups.includes(entry) || (wild && one.model === name && fits(entry, `${one.provider}/${name}`)),
  )
}

/** By model group, once for each set of deployments: two lists of 100 names over 5,000 of them are 50 million looks otherwise, a quarter of a second. */
const groups = new WeakMap<readonly ServedGroup[], Map<string, ServedGroup[]>>()

function groupsOf(served: readonly ServedGroup[]): Map<string, ServedGroup[]> {
  let byName = groups.get(served)
  if (byName === undefined) {
    byName = Map.groupBy(served, ({ modelGroup }) => modelGroup)
    groups.set(served, byName)
  }
  return byName
}

/** Model groups of an access group. */
function groupMembers(name: string, served: readonly ServedGroup[]): string[] {
  return served.flatMap((one) => (one.accessGroups.includes(name) ? [one.modelGroup] : []))
}

function texts(map: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(map).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

function counts(map: unknown): Record<string, number> {
  const entries = Object.entries(typeof map === 'object' && map !== null ? map : {})
  return Object.fromEntries(
    entries.map(([name, value]) => [name, Number(value)]).filter(([, count]) => Number.isSafeInteger(count)),
  )
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : []
}
