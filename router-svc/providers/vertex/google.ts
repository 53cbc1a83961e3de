import type { ChatRequest } from '../../canonical/chat.ts'
import type { GeminiAdapter } from '../gemini/index.ts'
import { encodeBody } from '../gemini/request.ts'
import { decodeResponse } from '../gemini/response.ts'
import { GenerateStream } from '../gemini/stream.ts'
import type { Target, UpstreamRequest } from '../provider.ts'
import { createModels, GOOGLE_VERSION, methodUrl } from './address.ts'

/**
 * Gemini on Vertex: Gemini's protocol under Vertex's addresses. It differs in the tier, which a header asks for; `labels`, full names of caches and
 * addresses of files go through as they are given.
 */
export function googleChat(name: string): GeminiAdapter {
  const modelOf = createModels()
  const wrap = (body: string | Uint8Array, { stream }: Pick<ChatRequest, 'stream'>, target: Target): UpstreamRequest => {
    const method = stream === true ? 'streamGenerateContent' : 'generateContent'
    return {
      method: 'POST',
      url: methodUrl(target, modelOf(target), GOOGLE_VERSION, method) + (stream === true ? '?alt=sse' : ''),
      headers: { 'content-type': 'application/json' },
      body,
    }
  }
  return {
    mode: 'chat',
    protocol: 'gemini',
    takesGemini: true,
    wrap,
    encodeRequest(request, target) {
      const model = modelOf(target)
      // A tuned model has a number for a name: what it can do its base model tells.
      const known = model.publisher === '' ? (target.baseModel ?? 'gemini') : model.id
      const { serviceTier: tier, ...body } = encodeBody(request, { ...target, model: known })
      const upstream = wrap(JSON.stringify(body), request, target)
      if (tier === 'flex' || tier === 'priority') upstream.headers['x-vertex-ai-llm-shared-request-type'] = tier
      return upstream
    },
    decodeResponse: (body, headers, context) => decodeResponse(name, body, headers, context),
    decodeStream: (context) => new GenerateStream(name, context),
  }
}
