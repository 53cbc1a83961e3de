import { afterEach, describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import type { HealthReply } from '../../proto/health.ts'
import { DEFAULT_ROUTING, type RoutingNews, type RoutingSettings } from '../../proto/routing.ts'
import { subjects } from '../../proto/subjects.ts'
import type { UsageEvent } from '../../proto/usage.ts'
import { DeadlineWheel, testClock } from '../../shared/clock.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { HttpClient } from '../../shared/http/client.ts'
import { silentLog } from '../../shared/log.ts'
import { answer, deployment, JSON_TYPE, type Sent, settled, settings as testSettings } from '../handle.testkit.ts'
import { createProviders } from '../providers/index.ts'
import { compileRuntime, type Route } from '../runtime.ts'
import type { DeploymentState } from './deployment-state.ts'
import { createHealthChecks, type HealthChecks } from './health-checks.ts'
import type { Selector } from './select.ts'

const MINUTE = 60_000

type Told = [id: string, health: { healthy: boolean; error?: string }]

let open: HealthChecks | null = null
afterEach(async () => {
  await open?.stop()
  open = null
})

function scene(
  deployments: Deployment[] = [deployment('one')],
  health: Partial<RoutingSettings['health']> = {},
  routing: Partial<RoutingSettings> = {},
) {
  const clock = testClock()
  const sent: Sent[] = []
  const events: UsageEvent[] = []
  const intents: UsageEvent[] = []
  const told: Told[] = []
  const counted: string[] = []
  const announced: RoutingNews[] = []
  const fleet: { role: string; id: string }[] = []
  let hear: (news: unknown) => void = () => undefined
  let ask: (payload: unknown) => Promise<unknown> = () => Promise.reject(new Error('nobody'))
  const http: HttpClient = {
    send(request, sink) {
      const one: Sent = { request, sink, paused: false, aborted: false }
      sent.push(one)
      const abort = (): void => {
        one.aborted = true
      }
      return { pause() {}, resume() {}, abort, sent: true }
    },
    close: async () => {},
  }
  const settings = {
    ...testSettings,
    routing: {
      ...DEFAULT_ROUTING,
      ...routing,
      health: { ...DEFAULT_ROUTING.health, background: true, interval: 5 * MINUTE, ...health },
    },
  }
  const compile = (some: Deployment[]) =>
    compileRuntime(
      { v: 1, revision: 1, deployments: some, settings },
      {
        providers: createProviders(),
        sealer: createSealer(null),
        env: {},
        catalog: { prices: () => null, facts: () => null },
        states: { of: () => ({}) as DeploymentState },
      },
    )
  const runtime = compile(deployments)
  const selector: Pick<Selector, 'begin' | 'end'> = {
    begin: (route) => void counted.push(`begin ${route.deployment.id}`),
    end: (route, _, { error }) => void counted.push(`end ${route.deployment.id} ${error}`),
  }
  const service = { stop: async () => undefined }
  open = createHealthChecks({
    bus: {
      id: 'router-1',
      subjects: subjects(),
      announce: (_, payload) => void announced.push(payload as RoutingNews),
      onChange: (_, handler) => {
        hear = handler
        return service
      },
      respond: (_, __, handler) => {
        ask = handler
        return service
      },
      fleet: () => fleet as never,
    },
    inForce: () => ({ runtime, deployments }),
    compile: (one) => compile([one]).routes[0] as Route,
    states: { health: (id, found) => void told.push([id, found]) },
    selector,
    spool: {
      append: (event) => void events.push(event),
      intend: (event, written) => {
        intents.push(event)
        written?.()
      },
    },
    http,
    clock,
    wheel: new DeadlineWheel(clock),
    newId: () => `check-${intents.length}`,
    random: () => 0.5,
    log: silentLog,
  })
  /** Time passes second by second, as long as checks take no time. */
  const pass = async (milliseconds: number, each: () => void = () => undefined): Promise<void> => {
    for (let past = 0; past < milliseconds; past += 1_000) {
      clock.advance(1_000)
      await settled()
      each()
      await settled()
    }
  }
  const serve = (index: number, body: Uint8Array = answer(), status = 200): void => {
    sent[index]?.sink.head(status, JSON_TYPE)
    sent[index]?.sink.data(body)
    sent[index]?.sink.end()
  }
  const bodyOf = (index: number) => JSON.parse(Buffer.from(sent[index]?.request.body as Uint8Array).toString())
  return {
    clock,
    sent,
    events,
    intents,
    told,
    counted,
    announced,
    fleet,
    pass,
    serve,
    bodyOf,
    hear: (news: Partial<RoutingNews>) => hear({ v: 1, routerId: 'router-2', ...news }),
    ask: (payload: object) => ask({ v: 1, ...payload }) as Promise<HealthReply>,
  }
}

const REFUSAL = Buffer.from(JSON.stringify({ error: { message: 'The engine is broken.', type: 'server_error' } }))

describe('background health checks', () => {
  it('call every deployment once an interval with a small request, and book it on themselves', async () => {
    const { pass, sent, serve, bodyOf, told, events, intents } = scene()
    let served = 0
    await pass(MINUTE, () => {
      while (served < sent.length) serve(served++)
    })
    expect(sent).toHaveLength(1)
    expect(sent[0]?.request.url).toBe('http://one.test/v1/chat/completions')
    expect(bodyOf(0)).toMatchObject({ model: 'gpt-4o', max_tokens: 16 })
    expect(bodyOf(0)).not.toHaveProperty('metadata')
    expect(told).toEqual([['one', { healthy: true }]])
    expect(intents).toHaveLength(1)
    // 100 tokens in at $2 a million and 50 out at $8.
    expect(events[0]).toMatchObject({
      keyHash: 'health_check',
      userId: null,
      outcome: 'success',
      metadata: { health_check: true },
      attempts: [{ deploymentId: 'one', cost: 600_000 }],
    })
    await pass(5 * MINUTE, () => {
      while (served < sent.length) serve(served++)
    })
    expect(sent).toHaveLength(2)
  })

  it('make nothing when they are off, and leave out what is blocked, hidden, of another group, or not to be checked', async () => {
    const off = scene([deployment('one')], { background: false })
    await off.pass(MINUTE)
    expect(off.sent).toEqual([])
    await open?.stop()
    const { pass, sent } = scene(
      [
        deployment('blocked', { blocked: true }),
        deployment('hidden', { hidden: true }),
        deployment('quiet', { info: { disable_background_health_check: true } }),
        deployment('other', { modelGroup: 'other' }),
        deployment('one'),
      ],
      { groups: ['gpt'] },
    )
    await pass(MINUTE)
    expect(sent.map(({ request }) => request.url)).toEqual(['http://one.test/v1/chat/completions'])
  })

  it('ask by the mode of the deployment, and of a wildcard what it names', async () => {
    const { pass, sent, bodyOf } = scene([
      deployment('e', { mode: 'embedding' }),
      deployment('w', { modelGroup: 'openai/*', model: '*', info: { health_check_model: 'openai/gpt-4.1-nano' } }),
      deployment('unnamed', { modelGroup: 'x/*', model: '*' }),
      deployment('long', { info: { health_check_max_tokens: 64, health_check_reasoning_effort: 'low' } }),
    ])
    await pass(MINUTE)
    expect(sent.map(({ request }) => request.url)).toEqual([
      'http://e.test/v1/embeddings',
      'http://w.test/v1/chat/completions',
      'http://long.test/v1/chat/completions',
    ])
    expect(bodyOf(0)).toMatchObject({ input: [expect.any(String)] })
    expect(bodyOf(1)).toMatchObject({ model: 'gpt-4.1-nano' })
    expect(bodyOf(2)).toMatchObject({ max_tokens: 64, reasoning_effort: 'low' })
  })

  it('run so many at once, and start the next as one ends', async () => {
    const { pass, sent, serve } = scene(
      ['a', 'b', 'c', 'd', 'e'].map((id) => deployment(id)),
      { concurrency: 2 },
    )
    await pass(10_000)
    expect(sent).toHaveLength(2)
    serve(0)
    await settled()
    await settled()
    expect(sent).toHaveLength(3)
  })

  it('tell of failures and of silence', async () => {
    const { pass, sent, serve, told, events } = scene([
      deployment('bad'),
      deployment('mute', { info: { health_check_timeout: 5 } }),
    ])
    await pass(10_000)
    serve(0, REFUSAL, 500)
    await pass(10_000)
    expect(sent[1]?.aborted).toBe(true)
    expect(told).toMatchObject([
      ['bad', { healthy: false, error: expect.stringContaining('The engine is broken.') }],
      ['mute', { healthy: false, error: expect.stringContaining('5 s') }],
    ])
    expect(events.map(({ outcome }) => outcome)).toEqual(['failure', 'failure'])
  })

  it('take a busy provider for a healthy one where the operator says so', async () => {
    const careful = scene([deployment('busy')], { ignoreTransient: true })
    await careful.pass(10_000)
    careful.serve(0, REFUSAL, 429)
    await settled()
    expect(careful.told).toEqual([])
    await open?.stop()
    const strict = scene([deployment('busy')])
    await strict.pass(10_000)
    strict.serve(0, REFUSAL, 429)
    await settled()
    expect(strict.told).toMatchObject([['busy', { healthy: false }]])
  })

  it('count as failures of the deployment where a policy says how many it may have', async () => {
    const { pass, serve, counted } = scene([deployment('bad')], {}, { allowedFailsPolicy: { InternalServerError: 2 } })
    await pass(10_000)
    serve(0, REFUSAL, 500)
    await settled()
    expect(counted).toEqual(['begin bad', 'end bad provider_error'])
    await open?.stop()
    const without = scene([deployment('bad')])
    await without.pass(10_000)
    without.serve(0, REFUSAL, 500)
    await settled()
    expect(without.counted).toEqual([])
  })

  it('leave out what another router has just checked', async () => {
    const { pass, sent, hear } = scene()
    hear({ health: { one: { healthy: true, age: 10_000 } } })
    await pass(4 * MINUTE)
    expect(sent).toEqual([])
    await pass(MINUTE)
    expect(sent).toHaveLength(1)
  })

  it('are told to accounting by a router that is alone, and by the states where there are others', async () => {
    const { pass, serve, announced, fleet, told } = scene([deployment('a'), deployment('b')])
    await pass(10_000)
    serve(0)
    await settled()
    expect(announced).toEqual([{ v: 1, routerId: 'router-1', health: { a: { healthy: true, age: 0 } } }])
    fleet.push({ role: 'router', id: 'router-2' })
    serve(1)
    await settled()
    expect([announced.length, told.length]).toEqual([1, 2])
  })

  it('end at once with the router, booked, and say nothing of the deployment', async () => {
    const { pass, sent, told, events, ask, clock } = scene()
    await pass(10_000)
    expect(sent).toHaveLength(1)
    await open?.stop()
    expect(sent[0]?.aborted).toBe(true)
    expect(events).toMatchObject([{ outcome: 'cancelled', attempts: [{ outcome: 'cancelled', usage: { estimated: true } }] }])
    expect(told).toEqual([])
    await expect(ask({ deployments: ['one'] })).rejects.toMatchObject({ code: 'overloaded' })
    expect(clock.pending).toBe(0)
  })
})

describe('checks that are asked for', () => {
  it('are made now, also of what the background leaves out, and told', async () => {
    const { ask, serve, told } = scene(
      [deployment('one'), deployment('quiet', { info: { disable_background_health_check: true } }), deployment('not')],
      { background: false },
    )
    const asked = ask({ deployments: ['one', 'quiet', 'unknown'] })
    await settled()
    serve(0)
    serve(1, REFUSAL, 500)
    const { checks } = await asked
    expect(checks).toMatchObject([
      { deploymentId: 'one', healthy: true },
      { deploymentId: 'quiet', healthy: false, status: 500 },
    ])
    expect(told.map(([id]) => id)).toEqual(['one', 'quiet'])
  })

  it('try a deployment that is not in the runtime, and tell nobody', async () => {
    const { ask, serve, told, sent, events } = scene([], { background: false })
    const asked = ask({ test: deployment('new', { modelGroup: 'trial' }) })
    await settled()
    serve(0)
    expect((await asked).checks).toMatchObject([{ deploymentId: 'new', healthy: true }])
    expect(sent[0]?.request.url).toBe('http://new.test/v1/chat/completions')
    expect(told).toEqual([])
    expect(events).toHaveLength(1)
    await expect(ask({ test: deployment('wild', { modelGroup: '*', model: '*' }) })).rejects.toThrow(GatewayError)
  })
})
