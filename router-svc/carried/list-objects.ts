import { type KeptObject, type ObjectKind, ownersOf } from '../../proto/objects.ts'
import { OWN } from '../../proto/own-batches.ts'
import { GatewayError } from '../../shared/errors.ts'
import { type Fields, isFields } from '../providers/json.ts'
import type { CarriedAnswer, CarriedRequest, CarriedTools } from './carrier.ts'
import { idWriter, partsOf, withOurIds } from './object-ids.ts'
import { isEnded, lookAt } from './settle-objects.ts'
import { settleSeen } from './settle-seen.ts'

const DEFAULT_LIMIT = 20
const FILES_LIMIT = 1_000
/** Most objects asked for at their providers for one list. */
const REFRESHED_MAX = 20
/** Kinds whose status goes on by itself. */
const MOVING: ReadonlySet<ObjectKind> = new Set(['batch', 'message_batch', 'video'])

/** The objects of a kind in one page: the caller's own, of everybody for a proxy admin. */
export async function keptPage(
  request: CarriedRequest,
  kind: ObjectKind,
  tools: CarriedTools,
): Promise<{ objects: KeptObject[]; more: boolean }> {
  const query = new URLSearchParams(request.query)
  const limit = Number(query.get('limit') ?? (kind === 'file' ? FILES_LIMIT : DEFAULT_LIMIT))
  if (!Number.isInteger(limit) || limit < 1)
    throw new GatewayError('bad_request', 'limit must be a whole number above 0.', { param: 'limit' })
  const cursor = query.get('after') ?? query.get('after_id')
  const after = cursor === null ? null : tools.ids.decode(cursor)
  if (cursor !== null && after === null)
    throw new GatewayError('bad_request', `after is no id of this gateway: ${cursor}.`, { param: 'after' })
  const purpose = query.get('purpose')
  const { objects, more } = await tools.objects.list({
    kind,
    owners: request.identity.role === 'proxy_admin' ? null : ownersOf(request.identity),
    limit: Math.min(limit, FILES_LIMIT),
    order: query.get('order') === 'asc' ? 'asc' : 'desc',
    ...(after === null ? {} : { after }),
    ...(purpose === null ? {} : { where: { purpose } }),
  })
  return { objects: MOVING.has(kind) ? await refreshed(objects, tools) : objects, more }
}

/** `GET` of a collection, in OpenAI's form. */
export async function listObjects(request: CarriedRequest, kind: ObjectKind, tools: CarriedTools): Promise<CarriedAnswer> {
  const { objects, more } = await keptPage(request, kind, tools)
  const data = objects.map((object) => shownObject(object, tools))
  const body = { object: 'list', data, first_id: data[0]?.['id'] ?? null, last_id: data.at(-1)?.['id'] ?? null, has_more: more }
  return { kind: 'answer', status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

/** What has not ended may have gone on: its provider knows. One that does not answer is shown as it was last seen. */
async function refreshed(objects: readonly KeptObject[], tools: CarriedTools): Promise<KeptObject[]> {
  const moving = new Set(objects.filter(({ facts }) => !isEnded(facts)).slice(0, REFRESHED_MAX))
  return Promise.all(
    objects.map(async (object) => {
      if (!moving.has(object)) return object
      try {
        if (object.deploymentId === OWN)
          return { ...object, facts: (await tools.objects.own({ ask: 'read batch', id: object.id })).object ?? object.facts }
        const route = tools.objects.routeOf(object.deploymentId)
        const facts = await lookAt(tools, route, object)
        const { kind, deploymentId, id, provider } = object
        const news = { kind, deploymentId, id, provider, what: 'seen' as const, facts }
        tools.objects.keep(news)
        await settleSeen(news, route, tools)
        return { ...object, facts }
      } catch (thrown) {
        if (thrown instanceof GatewayError && thrown.code === 'cancelled') throw thrown
        return object
      }
    }),
  )
}

/** An object of ours as clients get it in lists. */
export function shownObject(kept: KeptObject, tools: CarriedTools): Fields {
  const ids = tools.objects.idsOf(kept.owner)
  const write = idWriter(kept.deploymentId, ids, new Map())
  if (partsOf(kept) !== null) return { ...kept.facts, id: ids.encode('file-', kept) }
  const shown = withOurIds(kept.facts, write)
  if (!isFields(shown)) throw new GatewayError('internal')
  return shown
}
