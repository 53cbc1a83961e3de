import type { Identity } from './identity.ts'

/** Things providers keep for their callers, and we remember whose they are. */
export type ObjectKind =
  | 'file'
  | 'batch'
  | 'message_batch'
  | 'fine_tuning_job'
  | 'vector_store'
  | 'assistant'
  | 'thread'
  | 'container'
  | 'video'
  /** Heard by AssemblyAI. */
  | 'transcript'
  /** Made in the background. */
  | 'response'

/** Which object: `id` is the provider's. */
export interface ObjectKey {
  kind: ObjectKind
  /** `*` for an object that stands for several, whose `id` names them all. */
  deploymentId: string
  id: string
}

/** What a call did to an object, in its usage event. */
export interface ObjectNews extends ObjectKey {
  provider: string
  /** `created`: its owner is who made the call. `seen`: what it is now. `settled`: what it cost is booked by the same event. */
  what: 'created' | 'seen' | 'deleted' | 'settled'
  /** As the provider told it, its ids too; absent = nothing new. */
  facts?: Record<string, unknown>
}

/** Who made an object, and pays what comes of it later. */
export type ObjectOwner = Pick<Identity, 'keyHash' | 'keyAlias' | 'userId' | 'teamId' | 'organizationId' | 'projectId'>

export interface KeptObject extends ObjectKey {
  provider: string
  facts: Record<string, unknown>
  owner: ObjectOwner
  /** Unix milliseconds. */
  createdAt: number
  /** What it cost is booked. */
  settled: boolean
}

/** Router → accounting: objects of a kind, or the one with this id. */
export interface ObjectsRequest {
  v: number
  kind: ObjectKind
  /** Whose; null = anybody's. */
  owners: string[] | null
  only?: Pick<ObjectKey, 'deploymentId' | 'id'>
  after?: Pick<ObjectKey, 'deploymentId' | 'id'>
  limit: number
  order: 'asc' | 'desc'
  /** Facts that must be so (`purpose`). */
  where?: Record<string, string>
}

export interface ObjectsReply {
  v: number
  objects: KeptObject[]
  /** There are more after these. */
  more: boolean
}

/** Accounting → a router: look at these at their providers and book what they cost once they are done. */
export interface SettleRequest {
  v: number
  objects: KeptObject[]
}

export interface SettleReply {
  v: number
  /** Ids of those that are done, booked or without a cost. */
  done: string[]
}

/** Who shares what the caller makes, widest first: a team, else a user, else a key. */
export function ownersOf({ teamId, userId, keyHash }: Pick<Identity, 'teamId' | 'userId' | 'keyHash'>): string[] {
  const owners: string[] = []
  if (teamId !== null) owners.push(`team:${teamId}`)
  if (userId !== null) owners.push(`user:${userId}`)
  return [...owners, `key:${keyHash}`]
}
