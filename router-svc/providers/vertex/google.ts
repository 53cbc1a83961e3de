import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import { encodeBody } from '../gemini/request.ts'
import { decodeResponse } from '../gemini/response.ts'
import { GenerateStream } from '../gemini/stream.ts'
import type { Adapter } from '../provider.ts'
import { createModels, GOOGLE_VERSION, methodUrl } from './address.ts'

/**
 * Gemini on Vertex: Gemini's protocol under Vertex's addresses. It differs in the tier, which a header asks for; `labels`, full names of caches and
 * addresses of files go through as they are given.
 */
export function googleChat(name: string): Adapter<ChatRequest, ChatResponse, ChatChunk> {
  const modelOf = createModels()
  return {
    mode: 'chat',
    encodeRequest(request, target) {
      const model = modelOf(target)
      // A tuned model has a number for a name: what it can do its base model tells.
      const known = model.publisher === '' ? (target.baseModel ?? 'gemini') : model.id
      const { serviceTier: tier, ...body } = encodeBody(request, { ...target, model: known })
      const method = request.stream === true ? 'streamGenerateContent' : 'generateContent'
      const headers: Record<string, string> = { 'content-type': 'application/json' }
      if (tier === 'flex' || tier === 'priority') headers['x-vertex-ai-llm-shared-request-type'] = tier
      return {
        method: 'POST',
        url: methodUrl(target, model, GOOGLE_VERSION, method) + (request.stream === true ? '?alt=sse' : ''),
        headers,
        body: JSON.stringify(body),
      }
    },
    decodeResponse: (body, headers, context) => decodeResponse(name, body, headers, context),
    decodeStream: (context) => new GenerateStream(name, context),
  }
}
