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

  it('tell images, video and cached audio apart', () => {
    const usage = {
      prompt_tokens: 100,
      completion_tokens: 50,
      total_tokens: 150,
      prompt_tokens_details: {
        cached_tokens: 40,
        audio_tokens: 30,
        image_tokens: 20,
        video_tokens: 5,
        cached_tokens_details: { audio_tokens: 10, image_tokens: 8 },
      },
      completion_tokens_details: { image_tokens: 40 },
    }
    expect(tokensOf(usage as Usage)).toMatchObject({
      imageInput: 20,
      videoInput: 5,
      audioCacheRead: 10,
      imageCacheRead: 8,
      imageOutput: 40,
    })
  })

  it('take what is counted twice for cached images, then for cached audio', () => {
    const details = { cached_tokens: 80, image_tokens: 50, audio_tokens: 10 }
    const tokens = tokensOf({ ...plain, prompt_tokens_details: details })
    expect(tokens).toMatchObject({ input: 100, imageInput: 50, imageCacheRead: 40 })
    expect(tokens.audioCacheRead).toBeUndefined()
  })

  it('name the service tier, where it is not the standard one, and the region', () => {
    expect(tokensOf(plain, 'priority').serviceTier).toBe('priority')
    expect(tokensOf({ ...plain, service_tier: 'batch' }).serviceTier).toBe('batch')
    expect(tokensOf({ ...plain, speed: 'fast' }, 'standard').serviceTier).toBe('fast')
    for (const standard of ['default', 'standard', 'auto', 'on_demand', '', null, 7]) {
      expect(tokensOf(plain, standard)).not.toHaveProperty('serviceTier')
    }
    expect(tokensOf({ ...plain, inference_geo: 'us' }).region).toBe('us')
    expect(tokensOf({ ...plain, inference_geo: 'global' })).not.toHaveProperty('region')
  })

  it.each([
    ['OpenRouter, dollars', { cost: 0.00031413 }, 314_130],
    [
      'OpenRouter with the caller’s own key: its fee and the upstream’s bill',
      { cost: 0.001, is_byok: true, cost_details: { upstream_inference_cost: 0.02 } },
      21_000_000,
    ],
    ['Perplexity, a total', { cost: { request_cost: 0.006, total_cost: 0.00619 } }, 6_190_000],
    ['xAI, ten-billionths of a dollar', { cost_in_usd_ticks: 37_756_000 }, 3_775_600],
    ['nonsense', { cost: -1 }, undefined],
    ['an infinity', { cost: Number.POSITIVE_INFINITY }, undefined],
  ])('say what the provider reports: %s', (_, fields, nano) => {
    expect(tokensOf({ ...plain, ...fields } as Usage).reportedCost).toBe(nano)
  })

  it('count tools under any provider’s names, and seconds of audio', () => {
    expect(tokensOf({ ...plain, server_side_tool_usage_details: { web_search_calls: 2, mcp_calls: 0 } }).toolCalls).toEqual({
      web_search: 2,
    })
    expect(
      tokensOf({ ...plain, server_tool_use_details: { web_search_requests: 1, tool_calls_requested: 3 } }).toolCalls,
    ).toEqual({
      web_search: 1,
    })
    expect(tokensOf({ ...plain, search_context_size: 'high', num_search_queries: 3 }).toolCalls).toEqual({ 'web_search:high': 3 })
    expect(tokensOf({ ...plain, prompt_audio_seconds: 1.5 }).units).toEqual({ audio_ms_in: 1500 })
  })

  it('add the passes that shortened the context, and not those of an adviser', () => {
    const iterations = [
      { type: 'compaction', input_tokens: 500, output_tokens: 30, cache_read_input_tokens: 7 },
      { type: 'advisor_message', input_tokens: 9000, output_tokens: 9000 },
    ]
    expect(tokensOf({ ...plain, iterations })).toMatchObject({ input: 607, output: 50, cacheRead: 7 })
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

  it('may leave reasoning out of the completion, or audio out of the prompt: the total tells', () => {
    const xai = {
      prompt_tokens: 12,
      completion_tokens: 1,
      total_tokens: 241,
      completion_tokens_details: { reasoning_tokens: 228 },
    }
    expect(readUsage(xai)).toMatchObject({ prompt_tokens: 12, completion_tokens: 229, total_tokens: 241 })
    const mistral = { prompt_tokens: 5, completion_tokens: 11, total_tokens: 391, prompt_tokens_details: { audio_tokens: 375 } }
    expect(readUsage(mistral)).toMatchObject({ prompt_tokens: 380, completion_tokens: 11, total_tokens: 391 })
    const openai = {
      prompt_tokens: 12,
      completion_tokens: 229,
      total_tokens: 241,
      completion_tokens_details: { reasoning_tokens: 228 },
    }
    expect(readUsage(openai)).toMatchObject({ completion_tokens: 229 })
  })

  it('may have the details of the Responses and the Realtime API, or count seconds', () => {
    expect(
      tokensOf(readUsage({ input_tokens: 9, output_tokens: 4, input_tokens_details: { cached_tokens: 8 } }) as Usage),
    ).toMatchObject({
      input: 9,
      cacheRead: 8,
    })
    expect(readUsage({ input_tokens: 9, output_tokens: 4, output_token_details: { audio_tokens: 3 } })).toMatchObject({
      completion_tokens_details: { audio_tokens: 3 },
    })
    expect(tokensOf(readUsage({ type: 'duration', seconds: 4 }) as Usage)).toMatchObject({
      input: 0,
      units: { audio_ms_in: 4000 },
    })
  })

  it('is null when it holds no counts, and keeps fields we do not know', () => {
    for (const raw of [null, undefined, {}, [], 'x', { cost: 1 }]) expect(readUsage(raw)).toBeNull()
    expect(readUsage({ ...plain, cost: 0.1 })).toMatchObject({ cost: 0.1 })
  })
})
