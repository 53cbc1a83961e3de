import { afterEach, describe, expect, it } from 'vitest'
import type { Limit, LimitsReply, LimitsRequest } from '../../proto/limits.ts'
import { QUEUE } from '../../proto/subjects.ts'
import { createMemoryHub } from '../../shared/bus/memory.ts'
import { testClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'
import { createLimitSource } from './limit-source.ts'

const limit = (scope: string): Limit => ({ scope, kind: 'tag', owner: scope, budget: 1, spent: 0, revision: 0, resetAt: null })

function scene() {
  const clock = testClock()
  const hub = createMemoryHub({ clock, log: silentLog })
  const accounting = hub.join('accounting')
  const questions: LimitsRequest[] = []
  const service = accounting.respond(accounting.subjects.limits, QUEUE.accounting, async (payload): Promise<LimitsReply> => {
    const request = payload as LimitsRequest
    questions.push(request)
    return {
      v: 1,
      customers: Object.fromEntries(
        request.customers.map((name) => [
          name,
          { limits: [limit(`customer|${name}`)], blocked: false, region: null, defaultModel: null },
        ]),
      ),
      tags: Object.fromEntries(request.tags.map((name) => [name, name === 'free' ? [] : [limit(`tag|${name}`)]])),
    }
  })
  const source = createLimitSource({ bus: hub.join('router'), clock, log: silentLog })
  closing = async () => {
    await source.stop()
    await service.stop()
    await hub.close()
  }
  const names = async (customer: string | null, tags: string[]) =>
    (await source.find(customer, tags)).limits.map(({ scope }) => scope)
  const announce = async (change: object) => {
    accounting.announce('budget', change)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { clock, announce, questions, service, source, names }
}

let closing: () => Promise<void> = async () => {}
afterEach(() => closing())

describe('limits of customers and tags', () => {
  it('are asked for once and then held, also the absence of any', async () => {
    const { names, questions, source } = scene()
    expect(await names('c', ['a', 'free'])).toEqual(['customer|c', 'tag|a'])
    expect(source.find('c', ['free'])).not.toBeInstanceOf(Promise)
    expect(questions).toEqual([{ v: 1, customers: ['c'], tags: ['a', 'free'] }])
  })

  it('are asked for once when many calls name them at the same time', async () => {
    const { names, questions } = scene()
    await Promise.all(Array.from({ length: 50 }, () => names('c', ['a'])))
    expect(questions).toHaveLength(1)
  })

  it('are asked for again after a change that names them, and only then', async () => {
    const { names, questions, announce } = scene()
    await names('c', ['a'])
    await announce({ customers: ['other'], tags: [] })
    await names('c', ['a'])
    expect(questions).toHaveLength(1)
    await announce({ tags: ['a'] })
    await names('c', ['a'])
    expect(questions[1]).toEqual({ v: 1, customers: [], tags: ['a'] })
    await announce({})
    await names('c', ['a'])
    expect(questions[2]).toEqual({ v: 1, customers: ['c'], tags: ['a'] })
  })

  it('go on being used while accounting is away, but what was never heard of is refused', async () => {
    const { names, service, clock } = scene()
    await names('c', ['a'])
    await service.stop()
    clock.advance(61_000)
    const known = names('c', ['a'])
    const stranger = names('stranger', [])
    clock.advance(2_001)
    expect(await known).toEqual(['customer|c', 'tag|a'])
    await expect(stranger).rejects.toMatchObject({ code: 'counters_away' })
  })
})
