import type { Limit } from './limits.ts'
import type { RoutingOverrides } from './routing.ts'
import { WIRE_VERSION } from './version.ts'

/** Roles as LiteLLM names them (surface reference §0.1). */
export type UserRole = 'proxy_admin' | 'proxy_admin_viewer' | 'internal_user' | 'internal_user_viewer' | 'team' | 'customer'

/**
 * What a resolved credential may do. Made by accounting, cached by edges, carried by every call. Only what some part uses on
 * the request path; everything else stays in the database.
 */
export interface Identity {
  v: number
  /** SHA-256 hex of the key; a fixed alias for the master key, whose hash never leaves accounting. */
  keyHash: string
  /** `sk-...abcd`, safe to show. */
  keyName: string
  keyAlias: string | null
  role: UserRole
  userId: string | null
  userEmail: string | null
  teamId: string | null
  teamAlias: string | null
  organizationId: string | null
  projectId: string | null
  /** Model names, wildcards and access groups; empty = all. */
  models: string[]
  /** Request model → other model. */
  aliases: Record<string, string>
  /** Exact paths, prefixes with `*`, or route group names; empty = what the role allows. */
  allowedRoutes: string[]
  blocked: boolean
  teamBlocked: boolean
  /** Unix milliseconds, or null = never. */
  expires: number | null
  metadata: Record<string, unknown>
  tags: string[]
  /** Spend so far and limits, for headers; limits are enforced by the counters, not by these. Nano-dollars. */
  spend: number
  maxBudget: number | null
  rpmLimit: number | null
  tpmLimit: number | null
  /** Every limit a call of this key falls under, whatever its body says; those of customers and tags are asked for (limits.ts). */
  limits: Limit[]
  /** Dot paths a body must hold (`metadata.generation_name`). */
  enforcedParams: string[]
  /** Output tokens to reserve where a call does not say, by model and else. */
  estimatedOutputTokens: number | null
  estimatedOutputTokensPerModel: Record<string, number>
  /** Models to go on with when the budget of one is used up. */
  budgetFallbacks: Record<string, string[]>
  /** What the team and the key change of how their calls are routed (`router_settings`); the key's word counts. */
  routing?: RoutingOverrides
  /** Cache controls its requests may use (`allowed_cache_controls`); absent = all. */
  cacheControls?: string[]
}

/** The reply on the identity subject. */
export type IdentityReply = { v: number; identity: Identity } | { v: number; unknown: true }

/** The request on the identity subject: hex SHA-256 of the presented key. */
export interface IdentityRequest {
  v: number
  keyHash: string
}

/** `keyHash` of calls made with the master key, in every record (surface reference §0 "Master key in records"). */
export const MASTER_KEY_ALIAS = 'litellm_proxy_master_key'

/** `userId` of the master key and of everybody while none is set (LiteLLM's `default_user_id`). */
export const MASTER_USER_ID = 'default_user_id'

/** A proxy admin without limits, known by `name` in every record. */
export function adminIdentity(name: string): Identity {
  return {
    v: WIRE_VERSION,
    keyHash: name,
    keyName: name,
    keyAlias: null,
    role: 'proxy_admin',
    userId: MASTER_USER_ID,
    userEmail: null,
    teamId: null,
    teamAlias: null,
    organizationId: null,
    projectId: null,
    models: [],
    aliases: {},
    allowedRoutes: [],
    blocked: false,
    teamBlocked: false,
    expires: null,
    metadata: {},
    tags: [],
    spend: 0,
    maxBudget: null,
    rpmLimit: null,
    tpmLimit: null,
    limits: [],
    enforcedParams: [],
    estimatedOutputTokens: null,
    estimatedOutputTokensPerModel: {},
    budgetFallbacks: {},
  }
}
