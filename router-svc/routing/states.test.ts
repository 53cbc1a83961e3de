import { array, assert, constantFrom, nat, property, tuple } from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING } from '../../proto/routing.ts'
import { testClock } from '../../shared/clock.ts'
import { failure, success } from './routes.testkit.ts'
import { createStates } from './states.ts'

function scene(settings = DEFAULT_ROUTING) {
  const clock = testClock(1_700_000_040_000)
  const states = createStates({ clock })
  const use = (...ids: string[]): void =>
    states.use(
      ids.map((id) => ({ id, modelGroup: 'gpt' }) as Deployment),
      settings,
    )
  use('a', 'b', 'c')
  const state = states.of('a')
  return { clock, states, state, use, view: (id = 'a') => states.view().find((one) => one.id === id) }
}

describe('the state of a deployment', () => {
  it('is the same one whatever runtime asks for it', () => {
    const { states, state } = scene()
    expect(states.of('a')).toBe(state)
  })

  it('counts calls running, and requests, tokens, successes and failures of this minute', () => {
    const { clock, states, state, view } = scene()
    states.begin(state)
    states.begin(state)
    expect(state.inFlight).toBe(2)
    states.end(state, success(100, 10), false, false)
    states.end(state, failure(), true, false)
    expect(view()).toMatchObject({ inFlight: 0, requests: 2, tokens: 15, successes: 1, failures: 1 })
    clock.advance(60_000)
    expect(view()).toMatchObject({ requests: 0, tokens: 0, successes: 0, failures: 0 })
  })

  it('takes the mean of the last samples, and forgets each after its time', () => {
    const { clock, states, state } = scene({ ...DEFAULT_ROUTING, latencyListSize: 2, latencyTtl: 10_000 })
    for (const elapsed of [900, 100, 300]) {
      states.begin(state)
      states.end(state, success(elapsed, 10), false, false)
      clock.advance(4_000)
    }
    expect(state.latency(clock.monotonic())).toBe(20)
    clock.advance(3_000)
    expect(state.latency(clock.monotonic())).toBe(30)
    clock.advance(5_000)
    expect(state.latency(clock.monotonic())).toBe(0)
    expect(states.columns.latency.every((value) => value === 0)).toBe(true)
  })

  it('is dropped when no runtime has had it for ten minutes and nothing runs on it', () => {
    const { clock, states, state, use } = scene()
    states.begin(state)
    use('b')
    clock.advance(600_000)
    states.news.sweep(() => true)
    expect(states.of('a')).toBe(state)
    states.end(state, success(), false, false)
    states.news.sweep(() => true)
    const again = states.of('a')
    expect(again).not.toBe(state)
    // A call that still holds the old one harms nobody.
    states.begin(state)
    expect(again.inFlight).toBe(0)
  })

  it('keeps apart what is counted of many, though they share columns that grow', () => {
    const { states } = scene()
    const all = Array.from({ length: 500 }, (_, index) => states.of(`d${index}`))
    for (const [index, one] of all.entries()) for (let call = 0; call <= index % 5; call += 1) states.begin(one)
    expect(all.map((one) => one.inFlight)).toEqual(all.map((_, index) => (index % 5) + 1))
  })
})

describe('a cooldown', () => {
  it('gives no traffic until it is over, then one call at a time until one succeeds', () => {
    const { clock, states, state } = scene()
    const share = () => state.share(clock.monotonic())
    states.coolDown(state, 5_000)
    expect(share()).toBe(0)
    clock.advance(5_000)
    expect(share()).toBe(1)
    states.begin(state)
    expect(share()).toBe(0)
    states.end(state, failure(), true, false)
    expect(share()).toBe(1)
    states.begin(state)
    clock.advance(1_000)
    expect(share()).toBe(1)
    states.end(state, success(), false, false)
    expect(state.cooldownUntil).toBe(0)
    states.begin(state)
    expect(share()).toBe(1)
  })

  it('is not ended by a call that began before it', () => {
    const { clock, states, state } = scene()
    states.begin(state)
    states.coolDown(state, 5_000)
    clock.advance(1_000)
    states.end(state, success(), false, false)
    expect(state.share(clock.monotonic())).toBe(0)
  })

  it('is not cut short by a shorter one', () => {
    const { clock, states, state } = scene()
    states.coolDown(state, 5_000)
    states.coolDown(state, 1_000)
    clock.advance(4_999)
    expect(state.share(clock.monotonic())).toBe(0)
  })
})

describe('an ejection', () => {
  const settings = { ...DEFAULT_ROUTING, ejection: { ...DEFAULT_ROUTING.ejection, enabled: true } }

  it('ends gradually', () => {
    const { clock, states, state } = scene(settings)
    expect(states.eject(state, 10_000)).toBe(true)
    const shares = [0, 10_000, 15_000, 15_000].map((step) => {
      clock.advance(step)
      return state.share(clock.monotonic())
    })
    expect(shares).toEqual([0, 0, 0.5, 1])
  })

  it('never takes more of a group than may be out, whoever says so', () => {
    const steps = array(tuple(constantFrom('here', 'elsewhere'), nat(5), nat(20_000)), { maxLength: 40 })
    assert(
      property(steps, (all) => {
        const { clock, states, use } = scene(settings)
        const ids = ['a', 'b', 'c', 'd', 'e', 'f']
        use(...ids)
        for (const [who, index, pause] of all) {
          clock.advance(pause)
          const id = ids[index] as string
          if (who === 'here') states.eject(states.of(id), 10_000)
          else states.news.ejected(id, 10_000)
          const out = ids.filter((one) => states.of(one).ejectedUntil > clock.monotonic())
          expect(out.length).toBeLessThanOrEqual(3)
        }
      }),
    )
  })
})

describe('a background check', () => {
  it('counts while it is fresh, and the newest counts', () => {
    const { clock, states, state, view } = scene()
    const unhealthy = () => state.unhealthy(clock.monotonic())
    states.health('a', { healthy: false, error: 'refused' }, 0)
    expect(unhealthy()).toBe(true)
    expect(view()).toMatchObject({ unhealthy: true, error: 'refused' })
    states.health('a', { healthy: true }, 1_000)
    expect(unhealthy()).toBe(true)
    clock.advance(600_001)
    expect(unhealthy()).toBe(false)
    states.health('a', { healthy: true }, 0)
    expect(view()).toMatchObject({ unhealthy: false, error: null })
  })
})
