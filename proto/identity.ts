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
