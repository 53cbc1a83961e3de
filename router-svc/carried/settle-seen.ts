import type { ObjectNews } from '../../proto/objects.ts'
import type { Route } from '../runtime.ts'
import type { CarriedTools } from './carrier.ts'
import { isEnded, settleObject } from './settle-objects.ts'

const KINDS: ReadonlySet<string> = new Set(['batch', 'message_batch', 'video', 'response'])

/**
 * Books what an object cost once a call sees that it is done. Never rejects: what cannot be read now is read by the next who looks, at the latest by
 * accounting's job.
 */
export async function settleSeen(news: ObjectNews, route: Route, tools: CarriedTools): Promise<void> {
  const { kind, deploymentId, id, facts } = news
  if (!KINDS.has(kind) || facts === undefined || !isEnded(facts)) return
  try {
    const { objects } = await tools.objects.list({ kind, owners: null, only: { deploymentId, id }, limit: 1, order: 'asc' })
    const [object] = objects
    if (object !== undefined && !object.settled) await settleObject(tools.objects.settling, route, object, facts)
  } catch (err) {
    tools.objects.log.warn(
      { err, kind, deployment: deploymentId, object: id },
      'what an object cost could not be read; it is tried again',
    )
  }
}
