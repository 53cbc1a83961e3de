import { describe, expect, it } from 'vitest'
import { answerText } from '../../loadtest/answer-text.ts'
import { audit, type Books, isClosed, type KeyBooks } from './books.ts'
import { endingOf, FOREIGN, HUNG, SPENT, WHOLE } from './endings.ts'
import { FAULTS } from './index.ts'
import type { SeenCall } from './load.ts'
import { markdown, savedResult, shownTable } from './table.ts'
import { judge, type Observed } from './verdict.ts'

const TEXT = answerText(0, 40, 'own:a-1')
const chunk = (content: string): string => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`
const stream = (body: string, broken: string | null = null) => endingOf({ stream: true, status: 200, body, broken }, TEXT)
const whole = (status: number, body: unknown, broken: string | null = null) =>
  endingOf({ stream: false, status, body: JSON.stringify(body), broken }, TEXT)

describe('the ending of a call', () => {
  it('is whole only when all of its own text and the terminator came', () => {
    const body = chunk(TEXT.slice(0, 20)) + chunk(TEXT.slice(20))
    expect(stream(`${body}data: [DONE]\n\n`)).toBe(WHOLE)
    expect(stream(body)).toBe('stream that ends without a word')
    expect(stream(`${chunk(TEXT.slice(0, 20))}data: [DONE]\n\n`)).toBe('stream that claims to be whole and is not')
    expect(stream(body.slice(0, -9), 'ECONNRESET')).toBe('stream cut by the connection')
    expect(stream(`${chunk(TEXT.slice(0, 20))}data: {"error":{"message":"lost"}}\n\n`)).toBe('stream ended by an error event')
    expect(whole(200, { choices: [{ message: { content: TEXT } }] })).toBe(WHOLE)
  })

  it('is foreign when bytes are missing in the middle, doubled, out of order or of another call', () => {
    const parts = [TEXT.slice(0, 10), TEXT.slice(10, 20), TEXT.slice(20)] as const
    for (const order of [
      [0, 2],
      [0, 0, 1, 2],
      [1, 0, 2],
    ]) {
      const body = order.map((index) => chunk(parts[index] as string)).join('')
      expect(stream(`${body}data: [DONE]\n\n`)).toBe(FOREIGN)
      expect(stream(`${body}data: {"error":{}}\n\n`)).toBe(FOREIGN)
    }
    expect(stream(chunk(answerText(0, 40, 'own:a-2')))).toBe(FOREIGN)
    expect(whole(200, { choices: [{ message: { content: answerText(0, 40, 'own:a-2') } }] })).toBe(FOREIGN)
  })

  it('names refusals by status and type, and a used-up budget apart', () => {
    expect(whole(503, { error: { type: 'service_unavailable', code: '503' } })).toBe('503 service_unavailable')
    expect(whole(429, { error: { type: 'budget_exceeded', code: '429' } })).toBe(SPENT)
    expect(whole(502, 'gone')).toBe('502 without an error')
    expect(endingOf({ stream: false, status: 0, body: '', broken: 'ECONNRESET' }, TEXT)).toBe('connection ECONNRESET')
  })
})

const KEY: KeyBooks = { kind: 'rich', ledger: 20, spend: 20, counted: 20, held: 0, parallel: 0, budget: 100 }
const GOOD: Books = {
  served: new Map([
    ['a', { begun: 1, completed: 1 }],
    ['b', { begun: 2, completed: 1 }],
  ]),
  booked: [
    { marker: 'a', entries: 1, most: 1 },
    { marker: 'b', entries: 2, most: 1 },
  ],
  keys: [KEY],
}

describe('the audit of the books', () => {
  it('finds nothing where every attempt is booked once and all numbers agree', () => {
    expect(audit(GOOD)).toEqual({
      ...{ served: 3, again: 1, entries: 3, lost: [], lostWhole: [], twice: [], presumed: 0, differences: [] },
    })
    expect(isClosed(audit(GOOD), false)).toBe(true)
  })

  it('finds a lost row, also of one attempt of several, and whether its answer was complete', () => {
    const found = audit({ ...GOOD, booked: [{ marker: 'b', entries: 1, most: 1 }] })
    expect(found).toMatchObject({ lost: ['a', 'b'], lostWhole: ['a'] })
    expect(isClosed(found, true)).toBe(false)
  })

  it('finds a double row, and one of a request that was never served', () => {
    const double = { marker: 'a', entries: 2, most: 2 }
    const strange = { marker: 'c', entries: 1, most: 1 }
    expect(audit({ ...GOOD, booked: [double, strange, ...GOOD.booked.slice(1)] })).toMatchObject({ twice: ['a'], presumed: 2 })
  })

  it.each([
    [{ spend: 10 }, 'spend of the rich key is 10, its entries are 20'],
    [{ counted: 30 }, 'the counters say 30 of the rich key, its entries are 20'],
    [{ held: 5 }, '5 are held of the rich key'],
    [{ parallel: 1 }, '1 calls of the rich key are said to run'],
    [{ budget: 19 }, 'the rich key spent 20 of 19'],
  ])('finds %j', (wrong, sentence) => {
    expect(audit({ ...GOOD, keys: [{ ...KEY, ...wrong }] }).differences).toEqual([sentence])
  })
})

describe('the verdict', () => {
  const call = (startedAt: number, ending: string = WHOLE): SeenCall => ({
    ...{ marker: `m-${startedAt}`, stream: false, kind: 'free', edge: 0, startedAt, endedAt: startedAt + 50, ending, said: '' },
  })
  const steady = Array.from({ length: 100 }, (_, index) => call(index * 100))
  const observed: Observed = {
    ...{
      name: 'x',
      title: 'x',
      calls: steady,
      begun: 0,
      over: 5_000,
      ended: 10_000,
      audit: audit(GOOD),
      booked: 5,
      stalled: 0,
      stopped: null,
    },
    allows: { endings: ['503 *'], gap: 1_000, recovers: 1_000 },
  }

  it('passes what is well, and counts calls that were refused for their budget as well', () => {
    expect(judge(observed)).toMatchObject({ passed: true, calls: 100, endings: {}, recovery: 0, slowest: 50 })
    expect(judge({ ...observed, calls: [...steady, call(9_000, SPENT)] }).passed).toBe(true)
  })

  it('fails for endings the fault does not allow, and never allows foreign bytes or calls without end', () => {
    expect(judge({ ...observed, calls: [...steady, call(4_000, '503 overloaded_error')] }).passed).toBe(true)
    expect(judge({ ...observed, calls: [...steady, call(4_000, '502 server_error')] }).failures).toEqual(['1 × 502 server_error'])
    const all = { ...observed, allows: { ...observed.allows, endings: ['*'] } }
    for (const never of [FOREIGN, HUNG]) expect(judge({ ...all, calls: [...steady, call(4_000, never)] }).passed).toBe(false)
  })

  it('fails for a call that fails too long after the end, for a gap without success, and without any call', () => {
    expect(judge({ ...observed, calls: [...steady, call(6_500, '503 x')] }).failures[0]).toMatch('1.5 s after the fault was over')
    const gap = steady.filter(({ startedAt }) => startedAt < 2_000 || startedAt > 4_000)
    expect(judge({ ...observed, calls: gap }).failures[0]).toMatch('no call succeeded for 2.2 s')
    expect(judge({ ...observed, calls: [] }).passed).toBe(false)
  })

  it('fails for lost and double rows and for differences', () => {
    const lost = audit({ ...GOOD, booked: GOOD.booked.slice(1) })
    expect(judge({ ...observed, audit: lost }).failures).toEqual(['1 served and not booked (a)'])
    const twice = audit({ ...GOOD, booked: [{ marker: 'a', entries: 1, most: 2 }, ...GOOD.booked.slice(1)] })
    expect(judge({ ...observed, audit: twice }).failures).toEqual(['1 booked twice (a)'])
    const held = audit({ ...GOOD, keys: [{ ...KEY, held: 1 }] })
    expect(judge({ ...observed, audit: held }).passed).toBe(false)
  })

  it('excuses presumed entries and unheard answers only where the fault says so', () => {
    const presumed = audit({ ...GOOD, booked: [...GOOD.booked, { marker: 'c', entries: 1, most: 1 }] })
    expect(judge({ ...observed, audit: presumed }).passed).toBe(false)
    expect(judge({ ...observed, audit: presumed, allows: { ...observed.allows, presumed: true } }).passed).toBe(true)
    const unheard = audit({ ...GOOD, booked: [GOOD.booked[0] as never, { marker: 'b', entries: 1, most: 1 }] })
    expect(judge({ ...observed, audit: unheard }).passed).toBe(false)
    expect(judge({ ...observed, audit: unheard, allows: { ...observed.allows, unheard: true } }).passed).toBe(true)
  })
})

describe('the table of what was broken', () => {
  const result = savedResult()

  it('stands in the README as the last saved run has it', () => {
    expect(result).not.toBeNull()
    if (result !== null) expect(shownTable()).toBe(markdown(result).trim())
  })

  it('has a row of every fault there is, none of which failed, for as long as they are meant to last', () => {
    expect(result?.verdicts.map(({ name }) => name)).toEqual([...FAULTS.map(({ name }) => name), 'random'])
    expect(result?.verdicts.filter(({ passed }) => !passed)).toEqual([])
    expect(result?.quick).toBe(false)
  })
})
