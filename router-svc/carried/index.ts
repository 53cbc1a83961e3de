import type { CarrierName } from '../../proto/carried.ts'
import type { Carrier } from './carrier.ts'
import { configured } from './configured.ts'
import { messageBatches } from './message-batches.ts'
import { objects } from './objects.ts'
import { passThrough } from './pass-through.ts'
import { realtimeSessions } from './realtime-sessions.ts'
import { responses } from './responses.ts'

/** One line a family of carried endpoints. */
export const CARRIERS: Readonly<Record<CarrierName, Carrier>> = {
  'pass-through': passThrough,
  configured,
  'realtime-sessions': realtimeSessions,
  responses,
  objects,
  'message-batches': messageBatches,
}
