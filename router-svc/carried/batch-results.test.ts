import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Prices } from '../../proto/deployment.ts'
import { NO_TOKENS } from '../../proto/usage.ts'
import { costOf } from '../../shared/cost.ts'
import { usageOfResults } from './batch-results.ts'

const bytes = (...lines: unknown[]) =>
  Buffer.from(lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'))
const openai = (model: string, usage: unknown, status_code = 200) => ({
  id: 'r',
  custom_id: 'c',
  response: { status_code, body: { model, usage } },
  error: null,
})

describe('results of a batch', () => {
  it('are added up by the model that answered', async () => {
    const usage = { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12, prompt_tokens_details: { cached_tokens: 4 } }
    const sums = await usageOfResults(
      bytes(openai('a', usage), openai('b', { prompt_tokens: 7, total_tokens: 7 }), '', openai('a', usage)),
    )
    expect([...sums.values()]).toEqual([
      { model: 'a', usage: { ...NO_TOKENS, input: 20, output: 4, cacheRead: 8, largestInput: 10 } },
      { model: 'b', usage: { ...NO_TOKENS, input: 7, largestInput: 7 } },
    ])
  })

  it('cost together what every request would have cost alone', async () => {
    const prices: Prices = {
      rateVersion: 'v',
      input: 3_000_000,
      output: 15_000_000,
      tiers: [{ above: 200_000, input: 6_000_000 }],
    }
    const request = fc.record({ prompt_tokens: fc.integer({ min: 1, max: 400_000 }), completion_tokens: fc.nat(9_000) })
    await fc.assert(
      fc.asyncProperty(fc.array(request, { maxLength: 12 }), async (requests) => {
        const costOfOne = (one: (typeof requests)[number]) =>
          costOf({ ...NO_TOKENS, input: one.prompt_tokens, output: one.completion_tokens }, prices).total
        const sums = await usageOfResults(bytes(...requests.map((usage) => openai('a', usage))))
        const together = [...sums.values()].reduce((sum, { usage }) => sum + costOf(usage, prices).total, 0)
        expect(together).toBe(requests.reduce((sum, one) => sum + costOfOne(one), 0))
      }),
    )
  })

  it('go on in another sum before the ledger would take one for a mistake', async () => {
    const large = openai('a', { prompt_tokens: 100_000_000, completion_tokens: 1 })
    const sums = await usageOfResults(bytes(...Array.from({ length: 7 }, () => large)))
    expect([...sums.values()].map(({ usage }) => usage.input)).toEqual([500_000_000, 200_000_000])
  })

  it('of requests that failed cost nothing', async () => {
    const failed = { custom_id: 'c', response: { status_code: 400, body: { error: { message: 'no' } } }, error: null }
    expect((await usageOfResults(bytes(failed, { custom_id: 'd', response: null, error: { code: 'batch_expired' } }))).size).toBe(
      0,
    )
  })

  it('are read in Anthropic’s form with what its cache took', async () => {
    const usage = { input_tokens: 5, cache_read_input_tokens: 100, cache_creation_input_tokens: 10, output_tokens: 3 }
    const line = { custom_id: 'c', result: { type: 'succeeded', message: { model: 'claude', usage } } }
    const sums = await usageOfResults(bytes(line, { custom_id: 'd', result: { type: 'expired' } }))
    expect([...sums.values()][0]?.usage).toMatchObject({ input: 115, output: 3, cacheRead: 100, cacheWrite: 10 })
  })

  it('that break off are an error rather than half a bill', async () => {
    await expect(usageOfResults(bytes(openai('a', { prompt_tokens: 1 }), '{"custom_id": "b", "resp'))).rejects.toThrow(RangeError)
  })
})
