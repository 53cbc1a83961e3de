import type { RuntimeSnapshot } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING } from '../../proto/routing.ts'
import type { IncomingStream } from '../../shared/bus/bus.ts'
import { createMemoryCounters } from '../../shared/counters/memory.ts'
import { callId } from '../../shared/ids.ts'
import { type Admission, createAdmission } from '../admission/admission.ts'
import { createHandle } from '../handle.ts'
import { createInternalCalls } from '../internal-call.ts'
import { noObserver } from '../observe.ts'
import { type Affinity, createAffinity } from '../routing/affinity.ts'
import { createMirror } from '../routing/mirror.ts'
import { createSelector } from '../routing/select.ts'
import { createStates } from '../routing/states.ts'
import { createWaitingRoom, type WaitingRoom } from '../routing/waiting.ts'
import { compileRuntime } from '../runtime.ts'
import { createMemoryLookup } from './memory-store.ts'
import type { Parts } from './parts.ts'

/** The router of the gateway over one set of deployments, without the bus, the store and the books around it. */
export interface Serving {
  /** Serves a call; `finished` is called once nothing of it runs any more. */
  serve(stream: IncomingStream, finished: () => void): void
  /** Why a deployment cannot serve, by model group: no key, no base URL. */
  problems(): { modelGroup: string; problem: string }[]
  stop(): Promise<void>
}

export interface ServingOptions {
  /** Limits of deployments are kept, and conversations stay where their prompt is cached: for many calls over the same deployments. */
  lasting: boolean
}

export function createServing(parts: Parts, snapshot: RuntimeSnapshot, { lasting }: ServingOptions): Serving {
  const { clock, log, random } = parts
  const states = createStates({ clock })
  const runtime = compileRuntime(snapshot, {
    providers: parts.providers,
    sealer: parts.sealer,
    env: parts.env,
    catalog: parts.catalog,
    states,
    tokens: parts.credentials,
  })
  const routing = snapshot.settings.routing ?? DEFAULT_ROUTING
  states.use(snapshot.deployments, routing)
  const affinity = lasting ? createAffinity({ clock }) : noAffinity
  const selector = createSelector({ clock, random, states, affinity, observe: noObserver, log })
  void selector.use(routing)
  const waiting = createWaitingRoom({ clock })
  const admission = lasting ? limiting(parts, waiting) : noAdmission
  const internal = createInternalCalls({ take: (stream) => serve(stream, () => {}), clock, newId: callId })
  const serve = createHandle({
    routerId: 'library',
    runtime: () => runtime,
    codec: parts.codec,
    spool: {
      append(event, written) {
        parts.booked(event)
        written?.()
      },
      // There is no next process that would find it.
      intend: (_, written) => written?.(),
    },
    tokens: parts.tokens,
    admission,
    selector,
    affinity,
    waiting,
    mirroring: createMirror({ calls: internal, log }),
    // A caller in this process repeats nothing that it has not heard of.
    idempotency: { begin: () => null },
    cache: createMemoryLookup(parts, snapshot.settings.cache ?? null),
    responses: parts.responses,
    observe: noObserver,
    random,
    log,
    http: parts.http,
    clock,
    wheel: parts.wheel,
  })
  return {
    serve,
    problems: () =>
      runtime.routes.flatMap(({ problem, deployment }) =>
        problem === null ? [] : [{ modelGroup: deployment.modelGroup, problem }],
      ),
    async stop() {
      waiting.stop()
      await admission.stop()
    },
  }
}

/** `rpm`, `tpm`, `max_parallel_requests` and budgets of deployments, counted in this process. Nobody calls under limits of their own. */
function limiting({ clock, log }: Parts, waiting: WaitingRoom): Admission {
  return createAdmission({
    freed: (group) => waiting.wake(group),
    bus: { onChange: () => ({ stop: async () => {} }) },
    counters: createMemoryCounters({ clock, alone: true }),
    limits: { find: () => ({ customer: null, limits: [] }), stop: async () => {} },
    clock,
    log,
  })
}

const noAdmission: Admission = {
  admit: () => null,
  enter: async () => null,
  leave() {},
  rehold: () => true,
  again: () => true,
  settle() {},
  running: 0,
  stop: async () => {},
}

const noAffinity: Pick<Affinity, 'prefer' | 'learn'> = { prefer: () => null, learn() {} }
