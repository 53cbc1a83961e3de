import { describe, expect, it } from 'vitest'
import { readUsage } from '../providers/openai/usage.ts'
import type { Usage } from './chat.ts'
import { tokensOf } from './usage.ts'

const plain = { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 }

describe('tokens of canonical usage', () => {
  it('count cache reads, reasoning and audio inside input and output', () => {
    const usage: Usage = {
      ...plain,
      prompt_tokens_details: { cached_tokens: 60, audio_tokens: 5 },
      completion_tokens_details: { reasoning_tokens: 12, audio_tokens: 3 },
    }
    expect(tokensOf(usage)).toEqual({
      input: 100,
      output: 20,
      cacheRead: 60,
      cacheWrite: 0,
      cacheWrite1h: 0,
      reasoning: 12,
      audioInput: 5,
      audioOutput: 3,
      estimated: false,
    })
  })

  it('tell writes kept an hour from writes kept five minutes', () => {
    const usage: Usage = {
      ...plain,
      prompt_tokens_details: {
        cache_creation_tokens: 50,
        cache_creation_token_details: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 30 },
      },
    }
    expect(tokensOf(usage)).toMatchObject({ input: 100, cacheWrite: 20, cacheWrite1h: 30 })
  })

  it('add the cache to an input that is too small to hold it', () => {
    expect(tokensOf({ ...plain, prompt_tokens: 10, prompt_tokens_details: { cached_tokens: 90 } }).input).toBe(100)
  })

  it('name tools billed apart', () => {
    expect(tokensOf({ ...plain, server_tool_use: { web_search_requests: 2, code_execution_requests: 0 } }).toolCalls).toEqual({
      web_search: 2,
    })
    expect(tokensOf(plain).toolCalls).toBeUndefined()
  })

  it('are never negative, broken or fractional', () => {
    const usage = {
      prompt_tokens: -4,
      completion_tokens: Number.NaN,
      total_tokens: 0,
      prompt_tokens_details: { cached_tokens: '7' },
    }
    expect(tokensOf(usage as unknown as Usage)).toMatchObject({ input: 0, output: 0, cacheRead: 0 })
  })
})

describe('usage as providers write it', () => {
  it.each([
    ['DeepSeek', { ...plain, prompt_cache_hit_tokens: 64 }],
    ['Moonshot', { ...plain, cached_tokens: 64 }],
    ['Mistral', { ...plain, num_cached_tokens: 64 }],
    ['LiteLLM', { ...plain, cache_read_input_tokens: 64 }],
  ])('has its cache reads found where %s puts them', (_name, raw) => {
    expect(readUsage(raw)?.prompt_tokens_details?.cached_tokens).toBe(64)
  })

  it('may say input and output, reason at the top level, or give only a total', () => {
    expect(readUsage({ input_tokens: 3, output_tokens: 4 })).toMatchObject({
      prompt_tokens: 3,
      completion_tokens: 4,
      total_tokens: 7,
    })
    expect(readUsage({ ...plain, reasoning_tokens: 9 })?.completion_tokens_details?.reasoning_tokens).toBe(9)
    expect(readUsage({ prompt_tokens: 5, total_tokens: 9 })?.completion_tokens).toBe(4)
    expect(readUsage({ total_tokens: 9 })).toMatchObject({ prompt_tokens: 9, completion_tokens: 0 })
  })

  it('is null when it holds no counts, and keeps fields we do not know', () => {
    for (const raw of [null, undefined, {}, [], 'x', { cost: 1 }]) expect(readUsage(raw)).toBeNull()
    expect(readUsage({ ...plain, cost: 0.1 })).toMatchObject({ cost: 0.1 })
  })
})
