import { pathToFileURL } from 'node:url'
import type { Deployment, RuntimeSettings } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING, STRATEGIES, type StrategyName } from '../../proto/routing.ts'
import { decode, openCall } from '../../router-svc/call.ts'
import { deployment } from '../../router-svc/handle.testkit.ts'
import { noObserver } from '../../router-svc/observe.ts'
import { createProviders } from '../../router-svc/providers/index.ts'
import { createAffinity } from '../../router-svc/routing/affinity.ts'
import { createSelector } from '../../router-svc/routing/select.ts'
import { createStates } from '../../router-svc/routing/states.ts'
import { compileRuntime, type Resolution, type Route } from '../../router-svc/runtime.ts'
import type { IncomingStream } from '../../shared/bus/bus.ts'
import { systemClock } from '../../shared/clock.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import { silentLog } from '../../shared/log.ts'

const SIZES = [1, 10, 1_000]
const WARM_UP = 20_000
const ROUNDS = 9
const CALLS = 20_000
/** Calls running at once while measured, so that deployments differ. */
const RUNNING = 500

/** Microseconds a call spends on being routed, the middle of ROUNDS: candidates and choice, and counting the attempt. */
export interface RoutingCost {
  choice: number
  counting: number
}

/** A group of `size` deployments with limits and prices, chosen from by `strategy`. */
export function measureRouting(strategy: StrategyName, size: number): RoutingCost {
  const clock = systemClock
  const states = createStates({ clock })
  const settings = { modelGroupAlias: {}, routing: DEFAULT_ROUTING, providerBudgets: [] } as unknown as RuntimeSettings
  const deployments = Array.from({ length: size }, (_, index) => deploymentOf(index))
  const runtime = compileRuntime(
    { v: 1, revision: 1, deployments, settings },
    {
      providers: createProviders(),
      sealer: createSealer(null),
      env: {},
      catalog: { prices: () => null, facts: () => null },
      states,
    },
  )
  states.use(deployments, DEFAULT_ROUTING)
  const selector = createSelector({
    affinity: createAffinity({ clock }),
    clock,
    random: Math.random,
    states,
    observe: noObserver,
    log: silentLog,
  })
  const resolution = runtime.resolve('group') as Resolution
  const head = { endpoint: 'acompletion', headers: {}, identity: { keyHash: 'k', teamId: null, tags: [], metadata: {} } }
  const call = openCall({ head } as unknown as IncomingStream, clock)
  const body = new TextEncoder().encode('{"model":"group","messages":[{"role":"user","content":"hello"}]}')
  decode(call, body, { allowClientSideCredentials: false, alwaysIncludeStreamUsage: false, customerHeaders: [] })
  call.routing = { ...DEFAULT_ROUTING, strategy }
  call.inputTokens = 100
  const choose = (): Route => selector.choose(selector.candidates(call, resolution, runtime)[0] as readonly Route[], call)
  const end = { error: null, firstToken: null, inputTokens: 100, outputTokens: 50 } as const

  const running: Route[] = []
  for (let index = 0; index < RUNNING; index += 1) {
    const route = choose()
    selector.begin(route)
    running.push(route)
  }
  const choices: number[] = []
  const whole: number[] = []
  for (let round = -1; round < ROUNDS; round += 1) {
    const calls = round < 0 ? WARM_UP : CALLS
    const begun = performance.now()
    for (let index = 0; index < calls; index += 1) choose()
    const chosen = performance.now()
    for (let index = 0; index < calls; index += 1) {
      const route = choose()
      selector.begin(route)
      const at = index % RUNNING
      selector.end(running[at] as Route, call, { ...end, elapsed: 200 + ((index * 37) % 1_000) })
      running[at] = route
    }
    if (round < 0) continue
    choices.push(((chosen - begun) / calls) * 1_000)
    whole.push(((performance.now() - chosen) / calls) * 1_000)
  }
  const choice = middle(choices)
  return { choice, counting: Math.max(0, middle(whole) - choice) }
}

function middle(times: number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] as number
}

function deploymentOf(index: number): Deployment {
  return deployment(`deployment-${index}`, {
    modelGroup: 'group',
    provider: 'mock',
    weight: 1 + (index % 7),
    rpm: 1_000_000_000,
    tpm: 1_000_000_000_000,
    prices: { rateVersion: 'r', input: 1_000_000_000 + (index % 50), output: 2_000_000_000 },
  })
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  console.log('microseconds a call      choice                     counting')
  console.log(`deployments              ${SIZES.map((size) => String(size).padStart(8)).join('')}`)
  for (const strategy of STRATEGIES) {
    if (strategy === 'custom') continue
    const costs = SIZES.map((size) => measureRouting(strategy, size))
    const choice = costs.map((cost) => cost.choice.toFixed(2).padStart(8)).join('')
    const counting = costs.map((cost) => cost.counting.toFixed(2).padStart(8)).join('')
    console.log(`${strategy.padEnd(25)}${choice}   ${counting}`)
  }
}
