/**
 * What a limit is set on, in the order refusals are reported (surface reference §3.1). A `model` limit is one of another kind that
 * counts a single model only.
 */
export type ScopeKind =
  | 'key'
  | 'team_member'
  | 'user'
  | 'team'
  | 'project'
  | 'organization'
  | 'customer'
  | 'tag'
  | 'proxy'
  | 'provider'
  | 'deployment'
  | 'run'

/**
 * One limited scope of a call: every limit set on one owner, or on one model or one further window of it. Compiled by accounting
 * from rows and budget rows; checked by the counters, all scopes of a call at once. Absent = not limited.
 */
export interface Limit {
  /** Name of its counters and of its row in `spend`; made by `scopes` below. */
  scope: string
  kind: ScopeKind
  /** What messages and headers call the owner: key hash, team id, tag, … For a member `<team_id>:<user_id>`. */
  owner: string
  /** Counts and limits calls for this model (as asked for, or its group) only. */
  model?: string
  /** Per minute. */
  requests?: number
  tokens?: number
  /** Calls at once. */
  parallel?: number
  /** Nano-dollars per window; a temporary increase is already in it. */
  budget?: number
  /** Nano-dollars: alert, do not refuse. */
  softBudget?: number
  /** Unix milliseconds until which the temporary increase holds, and the budget after it. */
  budgetUntil?: number
  budgetAfter?: number
  /** Spent in the present window when this was compiled, nano-dollars, and the revision of that number (rises with every change). */
  spent: number
  revision: number
  /** Unix milliseconds at which the window closes; null = never. */
  resetAt: number | null
}

/** Names of scopes. Parts are separated by `|`, which is escaped inside ids: no id can name another's counters. */
export const scopes = {
  proxy: 'proxy',
  key: (keyHash: string) => `key|${part(keyHash)}`,
  user: (userId: string) => `user|${part(userId)}`,
  team: (teamId: string) => `team|${part(teamId)}`,
  teamMember: (teamId: string, userId: string) => `team_member|${part(teamId)}|${part(userId)}`,
  project: (projectId: string) => `project|${part(projectId)}`,
  organization: (organizationId: string) => `organization|${part(organizationId)}`,
  organizationMember: (organizationId: string, userId: string) => `organization_member|${part(organizationId)}|${part(userId)}`,
  customer: (endUser: string) => `customer|${part(endUser)}`,
  tag: (name: string) => `tag|${part(name)}`,
  provider: (name: string) => `provider|${part(name)}`,
  deployment: (id: string) => `deployment|${part(id)}`,
  /** A run belongs to the key that made it: others cannot use up its cap. */
  run: (keyHash: string, runId: string) => `run|${part(keyHash)}|${part(runId)}`,
  /** One model of a scope. */
  model: (scope: string, model: string) => `${scope}|model|${part(model)}`,
  /** Input and output tokens of a scope apart. */
  direction: (scope: string, direction: 'input' | 'output') => `${scope}|${direction}`,
  /** A further budget window of a scope, by its duration. */
  window: (scope: string, duration: string) => `${scope}|window|${part(duration)}`,
} as const

function part(id: string): string {
  return id.includes('|') || id.includes('%') ? id.replaceAll('%', '%25').replaceAll('|', '%7C') : id
}

/** Asks accounting for the limits of customers and tags, which only the body of a call names. */
export interface LimitsRequest {
  v: number
  customers: string[]
  tags: string[]
}

/** Limits by customer and by tag; a name without any is there with an empty list. */
export interface LimitsReply {
  v: number
  customers: Record<string, CustomerLimits>
  tags: Record<string, Limit[]>
}

export interface CustomerLimits {
  limits: Limit[]
  blocked: boolean
  /** `eu` or `us`: only deployments of that region. */
  region: string | null
  /** Model to use where the region allows none of those asked for. */
  defaultModel: string | null
}
