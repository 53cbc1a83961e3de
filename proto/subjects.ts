/** What changed, as a broadcast kind: which cached thing every process drops or refreshes. */
export type ChangeKind = 'identity' | 'deployment' | 'settings' | 'budget' | 'routing' | 'cache'

/** The roles that send beats. */
export type Role = 'edge' | 'router' | 'accounting'

/** Every subject, stream and bucket name of one cluster. */
export interface Subjects {
  /** Calls to the router queue group of one lane (`default` or a named pool). */
  call(lane: string): string
  /** Streams to one member of the queue group of a subject, past the group. */
  member(subject: string, id: string): string
  /** Frames to the opener of one stream: from a router to a call of an edge. Any role that opens streams listens here. */
  edge(edgeId: string, streamId: string): string
  /** Frames to the server of one stream: from an edge to a call on a router. Any role that serves streams listens here. */
  router(routerId: string, streamId: string): string
  /** Frames to whoever serves one stream, known or not: every process that serves streams listens here. */
  anyRouter(streamId: string): string
  /** Key hash → Identity, request and reply. */
  readonly identity: string
  /** Limits of customers and tags, request and reply. */
  readonly limits: string
  /** What accounting asks one router to do with the response cache, request and reply. */
  readonly cache: string
  /** What accounting asks a router about models, request and reply. */
  readonly models: string
  /** Objects kept at providers and whose they are, request and reply. */
  readonly objects: string
  /** What accounting asks a router to look at and book when it is done, request and reply. */
  readonly settle: string
  /** Files and batches the gateway keeps itself, request and reply. */
  readonly ownBatches: string
  /** Checks of deployments, by a router, request and reply. */
  readonly health: string
  /** A management HTTP request, answered as a stream. */
  readonly admin: string
  changed(kind: ChangeKind): string
  beat(role: Role, id: string): string
  /** Usage events; the shard spreads one stream over subjects. */
  usage(shard: string): string
  /** Every shard. */
  readonly usageAll: string
  /** JetStream stream of usage events. */
  readonly usageStream: string
  /** Word that a key of a bucket was written. */
  stored(bucket: string, key: string): string
  /** KV bucket of the compiled runtime. */
  readonly runtimeBucket: string
}

/** Queue groups: one member of the group gets each message. */
export const QUEUE = { router: 'router', accounting: 'accounting' } as const

/**
 * The subject tree under `prefix` (default `tp`). Ids and lanes may hold letters, digits, `-` and `_` only: a dot or a
 * wildcard in one would reach another subject.
 */
export function subjects(prefix = 'tp'): Subjects {
  const upper = prefix.toUpperCase()
  return {
    call: (lane) => `${prefix}.call.${token(lane)}`,
    member: (subject, id) => `${subject}.${id}`,
    edge: (edgeId, streamId) => `${prefix}.edge.${edgeId}.${streamId}`,
    router: (routerId, streamId) => `${prefix}.router.${routerId}.${streamId}`,
    // No process has this id: theirs begin with their role.
    anyRouter: (streamId) => `${prefix}.router.any.${streamId}`,
    identity: `${prefix}.identity`,
    limits: `${prefix}.limits`,
    cache: `${prefix}.cache`,
    models: `${prefix}.models`,
    objects: `${prefix}.objects`,
    settle: `${prefix}.settle`,
    ownBatches: `${prefix}.ownbatches`,
    health: `${prefix}.health`,
    admin: `${prefix}.admin`,
    changed: (kind) => `${prefix}.changed.${kind}`,
    beat: (role, id) => `${prefix}.beat.${role}.${id}`,
    usage: (shard) => `${prefix}.usage.${token(shard)}`,
    usageAll: `${prefix}.usage.*`,
    stored: (bucket, key) => `${prefix}.stored.${token(bucket)}.${token(key)}`,
    usageStream: `${upper}_USAGE`,
    runtimeBucket: `${upper}_RUNTIME`,
  }
}

/** Throws a plain Error when `value` is not usable as one subject token. */
export function token(value: string): string {
  if (!/^[A-Za-z0-9_-]+$/.test(value)) throw new Error(`not a subject token: ${JSON.stringify(value)}`)
  return value
}
