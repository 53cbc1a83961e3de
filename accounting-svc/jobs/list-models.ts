import { MODEL_QUESTION_LIMIT, type ModelAnswer, type ModelQuestion } from '../../proto/model-facts.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import { fromWire } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import type { Runtime } from '../models/runtime.ts'
import type { Job } from './schedule.ts'

/** Providers' lists change by the week; milliseconds. */
const INTERVAL = 3_600_000
/** Who could not be asked (a router that is not there yet, a provider that is away) is asked again soon, then less and less often. */
const AGAIN = 5_000

/**
 * Under `check_provider_endpoint`, has routers ask providers of wildcards for their models, so that lists name those a key can call today. A
 * provider that does not answer keeps what it said last.
 */
export function listModels(deps: {
  bus: Pick<Bus, 'request' | 'subjects'>
  clock: Pick<Clock, 'monotonic'>
  config: () => Config
  runtime: Pick<Runtime, 'deployments' | 'listed'>
  log: Log
}): Job {
  const { bus, clock, config, runtime, log } = deps
  const known = new Map<string, readonly string[]>()
  const due = new Map<string, { at: number; pause: number }>()
  return {
    name: 'list-models',
    every: AGAIN,
    async run() {
      if (config().litellm_settings.check_provider_endpoint !== true) return
      const before = JSON.stringify([...known])
      for (const { id, model, modelGroup } of runtime.deployments) {
        if (!model.includes('*') || !modelGroup.includes('*')) continue
        const { at, pause } = due.get(id) ?? { at: 0, pause: AGAIN }
        if (clock.monotonic() < at) continue
        try {
          const question: ModelQuestion = { v: WIRE_VERSION, kind: 'list', deploymentId: id }
          const answer = (await bus.request(bus.subjects.models, question, { timeout: MODEL_QUESTION_LIMIT })) as ModelAnswer
          if (answer.error !== undefined) throw fromWire(answer.error)
          if (answer.models !== undefined && answer.models.length > 0) known.set(id, answer.models)
          due.set(id, { at: clock.monotonic() + INTERVAL, pause: AGAIN })
        } catch (err) {
          log.warn({ err, deployment: id }, 'a provider did not list its models')
          due.set(id, { at: clock.monotonic() + pause, pause: Math.min(INTERVAL, pause * 2) })
        }
      }
      if (JSON.stringify([...known]) !== before) await runtime.listed(new Map(known))
    },
  }
}
