import type { OwnBatchesReply, OwnBatchesRequest } from '../../proto/own-batches.ts'
import { QUEUE } from '../../proto/subjects.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { OwnBatches } from './own-batches.ts'
import type { OwnFiles } from './own-files.ts'

/** Answers routers that carry calls for files and batches of the gateway's own. */
export function serveOwnBatches({ bus, files, batches }: { bus: Bus; files: OwnFiles; batches: OwnBatches }): Service {
  return bus.respond(bus.subjects.ownBatches, QUEUE.accounting, async (payload): Promise<OwnBatchesReply> => {
    const answer = await answerTo(payload as OwnBatchesRequest, files, batches)
    return { v: WIRE_VERSION, ...answer }
  })
}

async function answerTo(asked: OwnBatchesRequest, files: OwnFiles, batches: OwnBatches): Promise<Omit<OwnBatchesReply, 'v'>> {
  switch (asked.ask) {
    case 'begin file':
      return { object: await files.begin(asked) }
    case 'put part':
      await files.put(asked.id, asked.part, asked.content)
      return {}
    case 'end file':
      return { object: await files.end(asked.id) }
    case 'read file':
      return { object: await files.read(asked.id) }
    case 'read part':
      return { content: await files.readPart(asked.id, asked.part) }
    case 'delete file':
      return { object: await files.delete(asked.id) }
    case 'create batch':
      return { object: await batches.create(asked) }
    case 'read batch':
      return { object: await batches.read(asked.id) }
    case 'cancel batch':
      return { object: await batches.cancel(asked.id) }
    default:
      // Of a newer router.
      throw new GatewayError('bad_request', 'This accounting process does not know what is asked of files and batches.')
  }
}
