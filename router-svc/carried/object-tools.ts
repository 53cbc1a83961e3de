import { adminIdentity } from '../../proto/identity.ts'
import type { ObjectNews, ObjectOwner, ObjectsReply, ObjectsRequest, SettleReply, SettleRequest } from '../../proto/objects.ts'
import type { OwnBatchesAsk, OwnBatchesReply } from '../../proto/own-batches.ts'
import { QUEUE } from '../../proto/subjects.ts'
import type { UsageEvent } from '../../proto/usage.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Log } from '../../shared/log.ts'
import { smallFacts } from '../../shared/object-facts.ts'
import type { Route, RouterRuntime } from '../runtime.ts'
import type { CarriedIds, CarriedTools, Finder } from './carrier.ts'
import { lookAt, type SettleDeps, settleObject } from './settle-objects.ts'

/** What carriers do with the objects we remember. */
export interface ObjectTools {
  /** Says with the call's event what it did to an object. */
  keep(news: ObjectNews): void
  /** What accounting remembers. Rejects with GatewayError while it is away. */
  list(request: Omit<ObjectsRequest, 'v'>): Promise<ObjectsReply>
  /** Files and batches that the gateway keeps itself. Rejects with GatewayError. */
  own(asked: OwnBatchesAsk): Promise<OwnBatchesReply>
  /** Ids as the owner of an object gets them. */
  idsOf(owner: ObjectOwner): CarriedIds
  /** The deployment that has an object, whoever's. Throws GatewayError `not_found`. */
  routeOf(deploymentId: string): Route
  readonly settling: SettleDeps
  readonly log: Log
}

/** Milliseconds to wait for accounting. */
const LIST_LIMIT = 5_000
/** For a part of a file as well. */
const OWN_LIMIT = 30_000

export interface ObjectToolsDeps {
  bus: Pick<Bus, 'request' | 'subjects'>
  routerId: string
  runtime: RouterRuntime
  idsOf(owner: ObjectOwner): CarriedIds
  find: Pick<Finder, 'byDeployment'>
  ask: CarriedTools['ask']
  book(event: UsageEvent): void
  now(): number
  log: Log
}

/** The tools of one call; `news` gets what it says of objects. */
export function objectTools(deps: ObjectToolsDeps, news: ObjectNews[]): ObjectTools {
  const { bus, ask, book, now, routerId, log } = deps
  return {
    keep: (said) => news.push(said.facts === undefined ? said : { ...said, facts: smallFacts(said.facts) }),
    list: async (request) =>
      (await bus.request(bus.subjects.objects, { v: WIRE_VERSION, ...request }, { timeout: LIST_LIMIT })) as ObjectsReply,
    own: async (asked) =>
      (await bus.request(bus.subjects.ownBatches, { v: WIRE_VERSION, ...asked }, { timeout: OWN_LIMIT })) as OwnBatchesReply,
    idsOf: deps.idsOf,
    routeOf: (deploymentId) => deps.find.byDeployment(deploymentId),
    settling: { ask, book, routes: deps.runtime.routes, routerId, now },
    log,
  }
}

/** Whoever looks after objects for the gateway itself may use every deployment. */
export const CARETAKER = adminIdentity('object-caretaker')

/**
 * Looks at batches and videos for accounting and books what those cost that are done. One that cannot be looked at is left for the next
 * time.
 */
export function serveSettling(deps: { bus: Bus; settling(): SettleDeps & Pick<Finder, 'byDeployment'>; log: Log }): Service {
  const { bus, log } = deps
  return bus.respond(bus.subjects.settle, QUEUE.router, async (payload): Promise<SettleReply> => {
    const { objects } = payload as SettleRequest
    const tools = deps.settling()
    const done = await Promise.all(
      objects.map(async (object) => {
        const { kind, deploymentId, id } = object
        try {
          const route = tools.byDeployment(deploymentId)
          const ended = await settleObject(tools, route, object, await lookAt(tools, route, object))
          return ended ? id : null
        } catch (err) {
          log.warn({ err, kind, deployment: deploymentId, object: id }, 'an object could not be looked at; it is tried again')
          return null
        }
      }),
    )
    return { v: WIRE_VERSION, done: done.filter((id) => id !== null) }
  })
}
