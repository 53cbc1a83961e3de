import { describe, expect, it } from 'vitest'
import { estimate } from './estimate.ts'

const settings = { output: 4096, modelOutput: null }
const user = (content: unknown) => ({ messages: [{ role: 'user', content }] })

describe('an estimate', () => {
  it('counts text by its bytes, on the safe side for budgets', () => {
    const { inputTokens, inputTokensAtMost } = estimate(user('a'.repeat(1200)), 'chat', settings)
    // 1,200 bytes of text, 15 of names and role, and 4 tokens for the message.
    expect(inputTokens).toBe(Math.ceil((1200 + 'rolecontentuser'.length) / 4) + 4)
    expect(inputTokensAtMost).toBe(Math.ceil((1200 + 'rolecontentuser'.length) / 3) + 4)
  })

  it('counts a Chinese character as more than a quarter of a token', () => {
    const { inputTokens } = estimate(user('模'.repeat(400)), 'chat', settings)
    expect(inputTokens).toBeGreaterThan(300)
  })

  it('counts a picture by the piece, however long its base64 is', () => {
    const picture = { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(2_000_000)}` } }
    const sound = { type: 'input_audio', input_audio: { data: 'A'.repeat(2_000_000), format: 'wav' } }
    expect(estimate(user([picture, sound]), 'chat', settings).inputTokens).toBeLessThan(3_300)
  })

  it('counts tools, and a prompt that is already tokens', () => {
    const without = estimate(user('hi'), 'chat', settings).inputTokens
    const tools = [{ type: 'function', function: { name: 'f', description: 'd'.repeat(400), parameters: {} } }]
    expect(estimate({ ...user('hi'), tools }, 'chat', settings).inputTokens).toBeGreaterThan(without + 100)
    expect(estimate({ prompt: [1, 2, 3, 4, 5] }, 'completion', settings).inputTokens).toBe(5)
  })

  it('takes the output the call allows, once for each choice', () => {
    expect(estimate({ ...user('hi'), max_tokens: 50 }, 'chat', settings)).toMatchObject({ outputTokens: 50, bounded: true })
    expect(estimate({ ...user('hi'), max_completion_tokens: 50, max_tokens: 9, n: 3 }, 'chat', settings).outputTokens).toBe(150)
  })

  it('takes the settings where the call allows anything, and no more than the model can', () => {
    expect(estimate(user('hi'), 'chat', settings)).toMatchObject({ outputTokens: 4096, bounded: false })
    expect(estimate(user('hi'), 'chat', { output: 4096, modelOutput: 1000 }).outputTokens).toBe(1000)
  })

  it('expects no output of embeddings', () => {
    expect(estimate({ input: 'hello' }, 'embedding', settings)).toMatchObject({ outputTokens: 0, bounded: true })
  })
})
