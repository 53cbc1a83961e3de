import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Attempt } from '../../proto/usage.ts'
import { attempt, event, usage } from '../gateway-fixture.ts'
import { cleanJson, entriesOf } from './entries.ts'

const free = () => ({ cost: 7, rateVersion: 'r1' })

/** An attempt that no provider bills. */
function failed(index: number): Attempt {
  const { usage: _, ...rest } = attempt({ index, outcome: 'failure', error: { code: 'provider_error', message: 'it broke' } })
  return rest
}

describe('entriesOf', () => {
  it('makes one entry for each billed attempt and counts the call once, on the last', () => {
    const entries = entriesOf(
      event({ attempts: [failed(0), attempt({ index: 1, outcome: 'partial' }), attempt({ index: 2, model: 'gpt-4o-mini' })] }),
      free,
    )
    expect(entries.map(({ attempt: index, calls, outcome, cost }) => ({ index, calls, outcome, cost }))).toEqual([
      { index: 1, calls: 0, outcome: 'partial', cost: 7 },
      { index: 2, calls: 1, outcome: 'success', cost: 7 },
    ])
  })

  it('makes one entry of no cost for a call without a billed attempt, with the failure of the last', () => {
    const [entry, ...rest] = entriesOf(event({ outcome: 'failure', status: 500, attempts: [failed(0), failed(1)] }), free)
    expect(rest).toEqual([])
    expect(entry).toMatchObject({
      attempt: 1,
      calls: 1,
      cost: 0,
      rateVersion: null,
      outcome: 'failure',
      status: 500,
      errorCode: 'provider_error',
      provider: 'openai',
    })
  })

  it('makes an entry for a call that reached no deployment at all', () => {
    const [entry] = entriesOf(
      event({ outcome: 'failure', status: 400, attempts: [], error: { code: 'unknown_model', message: 'no' } }),
      free,
    )
    expect(entry).toMatchObject({ attempt: 0, calls: 1, cost: 0, model: null, provider: null, errorCode: 'unknown_model' })
  })

  it('counts the tokens that an answer from the cache saved, and prices nothing of it', () => {
    const cached = { cacheHit: true, cacheKey: `${'k'.repeat(3_000)}`, savedUsage: usage({ input: 30, output: 12 }) }
    expect(entriesOf(event({ attempts: [], ...cached }), free)).toMatchObject([
      { calls: 1, cost: 0, rateVersion: null, inputTokens: 30, outputTokens: 12, cacheHit: true, cacheKey: 'k'.repeat(2_048) },
    ])
    // A call that was billed has its own.
    expect(entriesOf(event({ savedUsage: usage({ input: 30 }) }), free)).toMatchObject([{ inputTokens: usage().input }])
  })

  it('marks entries of an unsettled event', () => {
    expect(entriesOf(event({ outcome: 'unsettled' }), free)).toMatchObject([{ entry: 'unsettled', outcome: 'unsettled' }])
  })

  it('keeps what is left of a usage, so that the row can be priced again', () => {
    const [entry] = entriesOf(
      event({ attempts: [attempt({ usage: usage({ cacheWrite: 1, cacheWrite1h: 2, toolCalls: { web_search: 3 } }) })] }),
      free,
    )
    expect(entry?.cacheWriteTokens).toBe(3)
    expect(JSON.parse(entry?.otherUsage ?? 'null')).toEqual({
      cacheWrite1h: 2,
      toolCalls: { web_search: 3 },
    })
  })

  it('drops what PostgreSQL text cannot hold', () => {
    const [entry] = entriesOf(event({ endUser: 'a\0b\ud800c', metadata: { 'k\0': '\0\udc00ok' } }), free)
    expect(entry?.endUser).toBe('abc')
    expect(JSON.parse(entry?.metadata ?? '')).toEqual({ k: 'ok' })
  })
})

describe('cleanJson', () => {
  it('gives back everything that holds neither NUL nor a lone surrogate, backslashes and all', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'grapheme' }), (value) => {
        if (JSON.stringify(value).includes('\\u0000')) return
        expect(JSON.parse(cleanJson(value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
    expect(JSON.parse(cleanJson('a\\u0000b\\\0'))).toBe('a\\u0000b\\')
  })
})
