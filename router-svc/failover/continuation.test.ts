import { describe, expect, it } from 'vitest'
import type { ChatRequest } from '../canonical/chat.ts'
import { providerOf } from '../providers/index.ts'
import { PLAIN_TARGET } from '../providers/plain-target.ts'
import type { Target } from '../providers/provider.ts'
import { continueRequest } from './continuation.ts'

const request: ChatRequest = { model: 'm', messages: [{ role: 'user', content: 'hi' }], stream: true }

function targetOf(provider: string, model: string, base = providerOf(provider)?.base ?? 'http://own'): Target {
  return {
    ...PLAIN_TARGET,
    provider,
    model,
    base,
  }
}

/** What a provider is sent to go on with `text`. */
function sent(provider: string, model: string, text: string, more: Partial<ChatRequest> = {}, base?: string) {
  const made = providerOf(provider)
  const target = targetOf(provider, model, base)
  const asked = { ...request, ...more }
  const prefill = made?.prefill?.(target, asked) ?? null
  const upstream = made?.chat?.encodeRequest(continueRequest(asked, text, prefill), target)
  return { prefill, url: upstream?.url, body: JSON.parse(String(upstream?.body)) as Record<string, unknown> & ChatRequest }
}

describe('a request that continues an answer', () => {
  it('is the original one while there is no text', () => {
    for (const text of ['', ' \n']) expect(continueRequest(request, text, null)).toBe(request)
  })

  it('leaves the original as it was', () => {
    const before = structuredClone(request)
    continueRequest(request, 'Hello', 'prefix')
    continueRequest(request, 'Hello', null)
    expect(request).toEqual(before)
  })

  it('tells a model that cannot go on by itself where to go on, and shows it the end', () => {
    const { prefill, body } = sent('openai', 'gpt-5', 'The answer is "4')
    expect(prefill).toBeNull()
    expect(body.messages.slice(0, 2)).toEqual([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'The answer is "4' },
    ])
    expect(body.messages[2]?.role).toBe('user')
    expect(body.messages[2]?.content).toContain('The answer is \\"4')
  })

  it('marks the beginning as each provider wants it', () => {
    const last = (answer: ReturnType<typeof sent>) => answer.body.messages.at(-1)
    const deepseek = sent('deepseek', 'deepseek-chat', 'Hello')
    expect(last(deepseek)).toEqual({ role: 'assistant', content: 'Hello', prefix: true })
    expect(deepseek.url).toBe('https://api.deepseek.com/beta/chat/completions')
    const beta = sent('deepseek', 'deepseek-chat', 'Hello', {}, 'https://api.deepseek.com/beta')
    expect(beta).toMatchObject({ prefill: 'prefix', url: 'https://api.deepseek.com/beta/chat/completions' })
    expect(sent('deepseek', 'deepseek-chat', 'Hello', {}, 'http://proxy').prefill).toBeNull()
    const mistral = sent('mistral', 'mistral-large', 'Hello')
    expect(mistral.prefill).toBe('echo')
    expect(last(mistral)).toEqual({ role: 'assistant', content: 'Hello', prefix: true })
    expect(last(sent('moonshot', 'kimi-k2', 'Hello'))).toEqual({ role: 'assistant', content: 'Hello', partial: true })
    const vllm = sent('hosted_vllm', 'llama', 'Hello', {}, 'http://vllm/v1')
    expect(last(vllm)).toEqual({ role: 'assistant', content: 'Hello' })
    expect(vllm.body).toMatchObject({ continue_final_message: true, add_generation_prompt: false })
  })

  it('is a prefill for the models of Anthropic that take one, without white space at its end', () => {
    const old = sent('anthropic', 'claude-sonnet-4-5', 'Hello \n')
    expect(old.prefill).toBe('native')
    expect(old.body.messages).toEqual([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'Hello' },
    ])
    for (const model of ['claude-opus-4-6', 'claude-sonnet-4-7', 'claude-next']) {
      expect(sent('anthropic', model, 'Hello').prefill).toBeNull()
      expect(sent('anthropic', model, 'Hello').body.messages.at(-1)?.role).toBe('user')
    }
  })

  it('is no prefill while the model thinks', () => {
    for (const more of [
      { thinking: { type: 'enabled', budget_tokens: 2000 } },
      { reasoning_effort: 'low' },
      { anthropic: { thinking: { type: 'enabled', budget_tokens: 2000 } } },
    ])
      expect(sent('anthropic', 'claude-sonnet-4-5', 'Hello', more).prefill).toBeNull()
    expect(sent('anthropic', 'claude-sonnet-4-5', 'Hello', { reasoning_effort: 'none' }).prefill).toBe('native')
  })

  it('goes on with the turn that the client itself began', () => {
    const begun = [...request.messages, { role: 'assistant', content: '{"a": ', prefix: true }]
    const { messages } = continueRequest({ ...request, messages: begun }, '1, ', 'native')
    expect(messages).toEqual([...request.messages, { role: 'assistant', content: '{"a": 1, ' }])
  })

  it('leaves as many tokens as the answer may still have, and thinking its budget', () => {
    const text = 'x'.repeat(400)
    expect(continueRequest({ ...request, max_tokens: 150 }, text, null).max_tokens).toBe(50)
    expect(continueRequest({ ...request, max_completion_tokens: 50 }, text, null).max_completion_tokens).toBe(1)
    const thinking = { type: 'enabled', budget_tokens: 2000 }
    expect(continueRequest({ ...request, max_tokens: 3040, thinking }, text, null).max_tokens).toBe(3024)
    expect(continueRequest({ ...request, max_tokens: 2100, thinking }, text, null).max_tokens).toBe(2100)
    expect(continueRequest(request, text, null)).not.toHaveProperty('max_tokens')
  })
})
