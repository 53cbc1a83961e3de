import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NO_TOKENS, type TokenUsage } from '../../proto/usage.ts'
import { otherUsage, usageOfEntry, usageProblem } from './usage.ts'

const tokens = fc.integer({ min: 0, max: 1_000_000 })
const some = fc.option(fc.integer({ min: 1, max: 1_000_000 }), { nil: undefined })
const anyUsage = fc.record({
  input: tokens,
  output: tokens,
  cacheRead: tokens,
  cacheWrite: tokens,
  cacheWrite1h: tokens,
  reasoning: tokens,
  audioInput: tokens,
  audioOutput: tokens,
  imageInput: some,
  audioCacheRead: some,
  citation: some,
  reportedCost: fc.option(tokens, { nil: undefined }),
  units: fc.option(fc.record({ 'image_out:hd': tokens }), { nil: undefined }),
  toolCalls: fc.option(fc.record({ web_search: fc.integer({ min: 0, max: 99 }) }), { nil: undefined }),
  serviceTier: fc.option(fc.constantFrom('flex', 'priority'), { nil: undefined }),
  estimated: fc.boolean(),
})

/** As `usage` would be if nothing of it were 0 or undefined by choice. */
function shown(usage: TokenUsage): Record<string, unknown> {
  return Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== undefined && value !== 0))
}

describe('usage in the ledger', () => {
  it('comes back from the columns of its entry as it went in', () => {
    fc.assert(
      fc.property(anyUsage, (given) => {
        const usage = given as TokenUsage
        expect(usageProblem(usage)).toBeNull()
        const row = {
          inputTokens: usage.input,
          outputTokens: usage.output,
          cacheReadTokens: usage.cacheRead,
          cacheWriteTokens: usage.cacheWrite + usage.cacheWrite1h,
          reasoningTokens: usage.reasoning,
          otherUsage: JSON.parse(JSON.stringify(otherUsage(usage))) as ReturnType<typeof otherUsage>,
          estimated: usage.estimated,
        }
        expect(shown(usageOfEntry(row))).toEqual(shown(usage))
      }),
    )
  })

  it('keeps nothing beside the columns of a plain call', () => {
    expect(otherUsage({ ...NO_TOKENS, input: 5, output: 6, cacheRead: 1, reasoning: 2 })).toBeNull()
  })

  it.each([
    ['usage', null],
    ['usage.input', { ...NO_TOKENS, input: -1 }],
    ['usage.imageInput', { ...NO_TOKENS, imageInput: 1.5 }],
    ['usage.audioCacheRead', { ...NO_TOKENS, audioCacheRead: 2e9 }],
    ['usage.toolCalls', { ...NO_TOKENS, toolCalls: { web_search: 40_000 } }],
    ['usage.units', { ...NO_TOKENS, units: { page: Number.NaN } }],
    ['usage.units', { ...NO_TOKENS, units: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`u${index}`, 1])) }],
    ['usage.reportedCost', { ...NO_TOKENS, reportedCost: 0.5 }],
    ['usage.serviceTier', { ...NO_TOKENS, serviceTier: 'x'.repeat(129) }],
    ['usage.region', { ...NO_TOKENS, region: 7 }],
  ])('is refused with %s where that is wrong', (field, value) => {
    expect(usageProblem(value)).toBe(field)
  })
})
