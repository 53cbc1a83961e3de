import {
  type KeptObject,
  type ObjectNews,
  type ObjectsReply,
  type ObjectsRequest,
  ownersOf,
  type SettleReply,
  type SettleRequest,
} from '../../proto/objects.ts'
import { QUEUE } from '../../proto/subjects.ts'
import type { UsageEvent } from '../../proto/usage.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import type { Job } from '../jobs/schedule.ts'
import { findObject, listObjects, listUnsettled, lookedAt, type ObjectRow, writeObject } from '../sql/objects.ts'
import { cleanJson } from './entries.ts'

/** Most objects of one reply. */
const LIST_MAX = 1_000
const WHATS: ReadonlySet<unknown> = new Set(['created', 'seen', 'deleted', 'settled'])

/** Writes what events say of objects; in the transaction that books them. An unreadable word of one is left out, never the call's entry. */
export async function keepObjects(tx: Transaction, events: readonly unknown[]): Promise<void> {
  for (const event of events as readonly UsageEvent[]) {
    if (!Array.isArray(event?.objects)) continue
    for (const news of event.objects) {
      if (!isNews(news)) continue
      const { keyHash, keyAlias, userId, teamId, organizationId } = event
      const owner = { keyHash, keyAlias, userId, teamId, organizationId, projectId: event.projectId ?? null }
      const [ownerName = ''] = ownersOf(owner)
      const facts = news.facts === undefined ? null : cleanJson(news.facts)
      await writeObject(tx, { ...owner, ...news, ownerName, facts, at: event.endedAt })
    }
  }
}

function isNews(value: unknown): value is ObjectNews {
  if (typeof value !== 'object' || value === null) return false
  const { kind, deploymentId, id, provider, what } = value as Partial<ObjectNews>
  return [kind, deploymentId, id, provider].every(isName) && WHATS.has(what)
}

/** What an index holds: PostgreSQL refuses entries above 2,704 bytes, and with one all events of a batch. */
function isName(value: unknown): boolean {
  return typeof value === 'string' && value.length <= 2_000 && value.isWellFormed() && !value.includes('\0')
}

/** Answers routers that ask which objects a caller has. */
export function serveObjects({ bus, db }: { bus: Bus; db: Database }): Service {
  return bus.respond(bus.subjects.objects, QUEUE.accounting, async (payload): Promise<ObjectsReply> => {
    const { kind, owners, only, after, limit, order, where } = payload as ObjectsRequest
    if (only !== undefined) {
      const rows = await findObject(db, { kind, ...only })
      return { v: WIRE_VERSION, objects: rows.map(keptOf), more: false }
    }
    const most = Math.min(Math.max(1, Math.trunc(limit)), LIST_MAX)
    const rows = await listObjects(db, {
      kind,
      owners,
      after: after ?? null,
      where: where === undefined ? null : cleanJson(where),
      limit: most + 1,
      order,
    })
    return { v: WIRE_VERSION, objects: rows.slice(0, most).map(keptOf), more: rows.length > most }
  })
}

function keptOf(row: ObjectRow): KeptObject {
  const { kind, deploymentId, id, provider, facts, createdAt, settled, ...owner } = row
  return { kind, deploymentId, id, provider, facts, createdAt, settled, owner }
}

/** Kinds whose cost is known when they are done. */
const SETTLED_LATER = ['batch', 'message_batch', 'video', 'response'] as const
/** Milliseconds after which an object is no longer looked at: no provider keeps results for longer. */
const GIVEN_UP = 45 * 24 * 3_600_000
/** Looked at in one run, and in one question: an output file may have hundreds of megabytes. */
const RUN_MAX = 200
const ASKED_AT_ONCE = 4
/** Milliseconds for those. */
const SETTLE_LIMIT = 300_000

/** Has routers look at batches nobody asks for any more, so that what they cost is booked all the same. */
export function settleObjects(deps: { bus: Bus; db: Database; clock: Clock; log: Log; every: number }): Job {
  const { bus, db, clock, log } = deps
  return {
    name: 'settle batches',
    every: deps.every,
    async run() {
      const rows = await listUnsettled(db, SETTLED_LATER, clock.now() - GIVEN_UP, RUN_MAX)
      for (let at = 0; at < rows.length; at += ASKED_AT_ONCE) {
        const objects = rows.slice(at, at + ASKED_AT_ONCE).map(keptOf)
        const request: SettleRequest = { v: WIRE_VERSION, objects }
        let reply: SettleReply
        try {
          reply = (await bus.request(bus.subjects.settle, request, { timeout: SETTLE_LIMIT })) as SettleReply
        } catch (err) {
          log.warn({ err }, 'no router looked at the batches under way; they are looked at again later')
          return
        }
        for (const object of objects) await lookedAt(db, object, clock.now(), reply.done.includes(object.id))
      }
    },
  }
}
