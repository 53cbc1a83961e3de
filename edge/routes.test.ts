import { describe, expect, it } from 'vitest'
import { createRoutes } from './routes.ts'

const route = createRoutes()

function summary(path: string): string {
  const target = route(path)
  if (target === null) return 'admin'
  if (target.kind === 'inference') return `${target.endpoint.name} ${target.model ?? '-'}`
  return target.kind === 'model' ? `model ${target.model}` : target.kind
}

describe('a path', () => {
  it.each([
    ['/v1/chat/completions', 'acompletion -'],
    ['/chat/completions', 'acompletion -'],
    ['/chat/completions/', 'acompletion -'],
    ['/v1/completions', 'atext_completion -'],
    ['/v1/embeddings', 'aembedding -'],
    ['/openai/deployments/gpt-4o/chat/completions', 'acompletion gpt-4o'],
    ['/openai/deployments/gpt-4o/completions', 'atext_completion gpt-4o'],
    ['/openai/deployments/a%2Fb/embeddings', 'aembedding a/b'],
    ['/openai/deployments/a/b/embeddings', 'aembedding a/b'],
    ['/engines/gpt-4o/chat/completions', 'acompletion gpt-4o'],
    ['/engines/100%/completions', 'atext_completion 100%'],
    ['/openai/deployments//completions', 'carried'],
    ['/v1/models', 'models'],
    ['/models', 'models'],
    ['/models/', 'models'],
    ['/v1/models/gpt-4o', 'model gpt-4o'],
    ['/v1/models/openai%2Fgpt-4o', 'model openai/gpt-4o'],
    ['/models/openai/gpt-4o', 'model openai/gpt-4o'],
    ['/v1beta/models/gemini-pro:generateContent', 'agenerate_content gemini-pro'],
    ['/v1/models/a%2Fb:streamGenerateContent', 'agenerate_content_stream a/b'],
    ['/models/a/b:countTokens', 'google_count_tokens a/b'],
    ['/v1beta/models/e:embedContent', 'google_embed_content e'],
    ['/models/e:batchEmbedContents', 'google_batch_embed_contents e'],
    ['/v1beta/models/:generateContent', 'admin'],
    ['/v1beta/models', 'admin'],
    ['/v1/messages/count_tokens', 'anthropic_count_tokens -'],
    ['/api/event_logging/batch', 'telemetry'],
    ['/health', 'admin'],
    ['/health/liveliness', 'liveness'],
    ['/health/liveness', 'liveness'],
    ['/health/readiness', 'readiness'],
    ['/metrics', 'metrics'],
    ['/metrics/', 'metrics'],
    ['/', 'admin'],
    ['/key/generate', 'admin'],
    ['/model/info', 'admin'],
    ['/v1/chat', 'admin'],
    ['/health/services', 'admin'],
  ])('%s means %s', (path, expected) => {
    expect(summary(path)).toBe(expected)
  })
})
