import { describe, expect, it } from 'vitest'
import { providerOf } from '../index.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import { decodePieces } from '../provider.suite.ts'
import type { Target } from '../provider.ts'

function asked(provider: string, model: string, base = providerOf(provider)?.base ?? ''): [string, unknown] {
  const target: Target = {
    ...PLAIN_TARGET,
    provider,
    model,
    base,
  }
  const sent = providerOf(provider)?.chat?.encodeRequest({ model: 'g', messages: [{ role: 'user', content: 'hi' }] }, target)
  return [sent?.url ?? '', (JSON.parse(String(sent?.body)) as { model: unknown }).model]
}

describe('OpenAI’s protocol at addresses of its own', () => {
  it.each([
    [
      'baseten',
      'deepseek-ai/DeepSeek-V3',
      undefined,
      'https://inference.baseten.co/v1/chat/completions',
      'deepseek-ai/DeepSeek-V3',
    ],
    [
      'baseten',
      'abcd1234',
      undefined,
      'https://model-abcd1234.api.baseten.co/environments/production/sync/v1/chat/completions',
      'abcd1234',
    ],
    ['baseten', 'abcd1234', 'http://proxy/v1', 'http://proxy/v1/chat/completions', 'abcd1234'],
    [
      'clarifai',
      'openai.chat-completion.gpt-4.1',
      undefined,
      'https://api.clarifai.com/v2/ext/openai/v1/chat/completions',
      'https://clarifai.com/openai/chat-completion/models/gpt-4.1',
    ],
    [
      'clarifai',
      'https://clarifai.com/a/b/models/c',
      undefined,
      'https://api.clarifai.com/v2/ext/openai/v1/chat/completions',
      'https://clarifai.com/a/b/models/c',
    ],
    ['datarobot', 'm', undefined, 'https://app.datarobot.com/api/v2/genai/llmgw/chat/completions/', 'm'],
    ['datarobot', 'm', 'https://eu.datarobot.com/api/v2', 'https://eu.datarobot.com/api/v2/genai/llmgw/chat/completions/', 'm'],
    ['datarobot', 'm', 'https://d/api/v2/genai/llmgw', 'https://d/api/v2/genai/llmgw/chat/completions/', 'm'],
    [
      'datarobot',
      'm',
      'https://d/api/v2/deployments/1/chat/completions',
      'https://d/api/v2/deployments/1/chat/completions/',
      'm',
    ],
    ['datarobot', 'm', 'https://d/api/v2/deployments/1', 'https://d/api/v2/deployments/1/', 'm'],
    ['gradient_ai', 'm', undefined, 'https://inference.do-ai.run/v1/chat/completions', 'm'],
    ['gradient_ai', 'm', 'https://inference.do-ai.run/v1', 'https://inference.do-ai.run/v1/chat/completions', 'm'],
    ['gradient_ai', 'm', 'https://a.agents.do-ai.run', 'https://a.agents.do-ai.run/api/v1/chat/completions', 'm'],
    ['gradient_ai', 'm', 'https://a.agents.do-ai.run/api/v1', 'https://a.agents.do-ai.run/api/v1/chat/completions', 'm'],
    ['ragflow', 'chat/c1/gpt', 'http://r:9380', 'http://r:9380/api/v1/chats_openai/c1/chat/completions', 'gpt'],
    ['ragflow', 'agent/a1', 'http://r:9380/api/v1', 'http://r:9380/api/v1/agents_openai/a1/chat/completions', 'model'],
    ['oobabooga', 'm', 'http://o:5000', 'http://o:5000/v1/chat/completions', 'm'],
  ])('%s calls %s at %s', (provider, model, base, url, named) => {
    expect(asked(provider, model, base)).toEqual([url, named])
  })
})

describe('keys that are no bearer tokens', () => {
  it('go in the header of their row', () => {
    expect(providerOf('oobabooga')?.auth).toEqual({ type: 'header', name: 'authorization', prefix: 'Token ', optional: true })
    expect(providerOf('sarvam')?.auth).toEqual({ type: 'header', name: 'api-subscription-key' })
  })
})

// No recordings of it exist: bytes after Mistral's documentation.
describe('a completion of Codestral', () => {
  const provider = providerOf('text-completion-codestral')
  const context = { id: 'i', created: 1, model: 'codestral-latest', request: { prompt: 'def', suffix: 'end' } }
  const target: Target = {
    ...PLAIN_TARGET,
    provider: 'text-completion-codestral',
    model: 'codestral-latest',
    base: provider?.base ?? '',
  }

  it('is asked with what comes after', () => {
    const sent = provider?.completion?.encodeRequest(
      { model: 'g', prompt: 'def', suffix: 'end', seed: 1, min_tokens: 2, max_tokens: 9, stream: true },
      target,
    )
    expect(sent?.url).toBe('https://codestral.mistral.ai/v1/fim/completions')
    expect(JSON.parse(String(sent?.body))).toEqual({
      model: 'codestral-latest',
      prompt: 'def',
      suffix: 'end',
      random_seed: 1,
      min_tokens: 2,
      max_tokens: 9,
      stream: true,
    })
    expect(provider?.chat).toBeUndefined()
    expect(() => provider?.completion?.encodeRequest({ model: 'g', prompt: 'a', echo: false }, target)).not.toThrow()
    expect(() => provider?.completion?.encodeRequest({ model: 'g', prompt: 'a', echo: true }, target)).toThrow(/'echo'/)
  })

  it('is read from the form of a chat, whole and streamed', () => {
    const whole = provider?.completion?.decodeResponse(
      Buffer.from(
        '{"id":"c","object":"chat.completion","created":5,"model":"codestral-2501","choices":[{"index":0,"message":{"role":"assistant","content":" f():"},"finish_reason":"length"}],"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}}',
      ),
      {},
      context,
    )
    expect(whole).toMatchObject({
      object: 'text_completion',
      choices: [{ text: ' f():', finish_reason: 'length' }],
      usage: { prompt_tokens: 2, completion_tokens: 3 },
    })
    const stream = provider?.completion?.decodeStream?.(context)
    if (stream === undefined) throw new Error('no stream')
    const pieces = [
      '{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}',
      '{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":" f"},"finish_reason":null}]}',
      '{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"()"},"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}}',
      '[DONE]',
    ]
    const { chunks, error } = decodePieces(stream, [Buffer.from(pieces.map((piece) => `data: ${piece}\n\n`).join(''))])
    expect(error).toBeNull()
    expect(chunks.map(({ choices }) => choices[0]?.text).join('')).toBe(' f()')
    expect(chunks.at(-1)).toMatchObject({ choices: [{ finish_reason: 'stop' }], usage: { total_tokens: 5 } })
  })
})
