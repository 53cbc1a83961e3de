import type { Log } from '../../shared/log.ts'
import type { Runtime } from '../models/runtime.ts'
import type { Job } from './schedule.ts'

/** Milliseconds between looks. Running processes have their copy; a look reads the whole of it. */
const INTERVAL = 5_000

/**
 * Puts the runtime back when NATS came back without its store. Routers and edges go on with what they have mirrored, but one that started then
 * found nothing, and was not ready before accounting started anew.
 */
export function keepRuntime(deps: { runtime: Pick<Runtime, 'restore'>; log: Log }): Job {
  return {
    name: 'keep-runtime',
    every: INTERVAL,
    async run() {
      if (await deps.runtime.restore()) deps.log.warn({}, 'the bus had lost the runtime; it is published again')
    },
  }
}
