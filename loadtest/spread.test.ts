import { describe, expect, it } from 'vitest'
import { callBytes } from './connection.ts'
import { keyOf } from './setups.ts'
import { spreadOver } from './spread.ts'

const sample = callBytes({
  origin: 'http://127.0.0.1:1',
  path: '/x',
  headers: { authorization: `Bearer ${keyOf(0)}` },
  body: '{}',
})
const keyIn = (call: Buffer): string => /Bearer (\S+)/.exec(call.toString())?.[1] ?? ''

describe('calls spread over keys', () => {
  it('name every key once, the last first, before any a second time, and leave the rest of the call as it was', () => {
    const next = spreadOver(sample, keyOf, 3, () => 0.999)
    const calls = Array.from({ length: 5 }, next)
    expect(calls.map(keyIn)).toEqual([2, 1, 0, 2, 2].map(keyOf))
    for (const call of calls) expect(call.toString().replace(keyIn(call), keyOf(0))).toBe(sample.toString())
  })

  it('are bytes of their own: a call still being sent is not changed by the next', () => {
    const next = spreadOver(sample, keyOf, 1_000)
    const first = next()
    next()
    expect(keyIn(first)).toBe(keyOf(999))
  })

  it('refuse a sample that names another key', () => {
    expect(() => spreadOver(sample, () => 'sk-other', 2)).toThrow('does not name')
  })
})
