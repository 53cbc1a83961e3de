import { afterEach, describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING, type RoutingNews } from '../../proto/routing.ts'
import { createMemoryHub, type MemoryHub } from '../../shared/bus/memory.ts'
import { type TestClock, testClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'
import { createNews } from './news.ts'
import { failure, success } from './routes.testkit.ts'
import { createStates } from './states.ts'

const open: { stop(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of open.splice(0)) await one.stop()
})

const settings = { ...DEFAULT_ROUTING, ejection: { ...DEFAULT_ROUTING.ejection, enabled: true } }

function join(hub: MemoryHub, clock: TestClock, id: string) {
  const bus = hub.join('router', id)
  bus.beat({})
  const states = createStates({ clock })
  states.use(
    ['a', 'b'].map((one) => ({ id: one, modelGroup: 'gpt' }) as Deployment),
    settings,
  )
  open.push(createNews({ bus, clock, news: states.news, log: silentLog }))
  return { bus, states, a: states.of('a'), b: states.of('b') }
}

/** Two routers that know of each other, and what is said on the bus. */
async function scene(count = 2) {
  const clock = testClock(1_700_000_040_000)
  const hub = createMemoryHub({ clock, log: silentLog, strict: true })
  const said: RoutingNews[] = []
  hub.join('edge', 'edge-1').onChange('routing', (payload) => said.push(payload as RoutingNews))
  const routers = Array.from({ length: count }, (_, index) => join(hub, clock, `router-${index}`))
  open.push({ stop: () => hub.close() })
  const pass = async (milliseconds: number): Promise<void> => {
    for (let passed = 0; passed < milliseconds; passed += 500) {
      clock.advance(500)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await pass(1_500)
  const [one, two] = routers as [(typeof routers)[0], (typeof routers)[0]]
  return { clock, hub, said, one, two, pass }
}

describe('news between routers', () => {
  it('are told by nobody who is alone', async () => {
    const { said, one, pass } = await scene(1)
    one.states.begin(one.a)
    one.states.coolDown(one.a, 5_000)
    one.states.end(one.a, failure(), true, false)
    await pass(5_000)
    expect(said).toEqual([])
  })

  it('of a cooldown come at once, and of its end when a call has shown it', async () => {
    const { clock, one, two, pass } = await scene()
    one.states.coolDown(one.a, 5_000)
    await new Promise((resolve) => setImmediate(resolve))
    expect(two.a.cooldownUntil).toBe(clock.monotonic() + 5_000)
    expect(two.b.cooldownUntil).toBe(0)
    await pass(5_000)
    one.states.begin(one.a)
    one.states.end(one.a, success(), false, false)
    await new Promise((resolve) => setImmediate(resolve))
    expect(two.a.cooldownUntil).toBe(0)
  })

  it('of an ejection come at once', async () => {
    const { clock, one, two } = await scene()
    one.states.eject(one.a, 10_000)
    await new Promise((resolve) => setImmediate(resolve))
    expect(two.a.share(clock.monotonic())).toBe(0)
  })

  it('of loads come within a second, and only when they changed', async () => {
    const { clock, said, one, two, pass } = await scene()
    await pass(5_000)
    said.length = 0
    one.states.begin(one.a)
    one.states.begin(one.a)
    one.states.end(one.a, success(200, 10), false, false)
    await pass(1_000)
    expect(two.a.inFlight).toBe(1)
    expect(two.a.requests(clock.now())).toBe(2)
    expect(two.a.tokens(clock.now())).toBe(15)
    expect(two.a.latency(clock.monotonic())).toBe(20)
    expect(one.a.inFlight).toBe(1)
    one.states.end(one.a, success(), false, false)
    await pass(1_000)
    expect(two.a.inFlight).toBe(0)
    said.length = 0
    await pass(5_000)
    expect(said).toEqual([])
  })

  it('do not let a long call be forgotten', async () => {
    const { one, two, pass } = await scene()
    one.states.begin(one.a)
    await pass(30_000)
    expect(two.a.inFlight).toBe(1)
  })

  it('of a router that is gone count no more, but for the requests it did make', async () => {
    const { clock, hub, one, two, pass } = await scene()
    one.states.begin(one.a)
    await pass(1_000)
    expect(two.a.inFlight).toBe(1)
    hub.faults.kill('router-0')
    await pass(6_000)
    expect(two.a.inFlight).toBe(0)
    expect(two.a.requests(clock.now())).toBe(1)
  })

  it('tell a router that has just come what is out', async () => {
    const { clock, hub, one, pass } = await scene()
    one.states.coolDown(one.a, 30_000)
    await pass(1_000)
    const late = join(hub, clock, 'router-late')
    await pass(3_000)
    expect(late.a.cooldownUntil).toBeGreaterThan(clock.monotonic() + 20_000)
  })

  it('of a background check reach the others with its age', async () => {
    const { clock, one, two, pass } = await scene()
    one.states.health('a', { healthy: false, error: 'refused' }, 2_000)
    await pass(1_000)
    expect(two.a.unhealthy(clock.monotonic())).toBe(true)
    expect(two.states.view()[0]).toMatchObject({ id: 'a', error: 'refused' })
  })

  it('of a version to come are left alone', async () => {
    const { hub, one } = await scene()
    hub.join('router', 'router-new').announce('routing', { v: 99, routerId: 'router-new', cooldowns: { a: 60_000 } })
    await new Promise((resolve) => setImmediate(resolve))
    expect(one.a.cooldownUntil).toBe(0)
  })
})
