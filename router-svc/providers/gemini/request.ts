import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import type { Target, UpstreamRequest } from '../provider.ts'
import { createRefusals, type Refusals } from '../refusals.ts'
import { encodeMessages } from './messages.ts'
import { type Traits, traitsOf } from './models.ts'
import { inOwnWords } from './own-words.ts'
import { screen } from './parameters.ts'
import { jsonSchema, openapiSchema } from './schema.ts'
import { encodeThinking } from './thinking.ts'
import { encodeTools } from './tools.ts'
import { type Fields, type GenerateRequest, isFields, text } from './wire.ts'

/** The protocol's own word for the version in a path; operators write the base with or without it. */
const VERSION = 'v1beta'

/**
 * The canonical request as `generateContent`. Throws `bad_request` naming the message, part or tool that cannot be carried, and
 * `unsupported_parameter` naming every parameter the model does not know (unless they may be dropped).
 */
export function encodeRequest(canonical: ChatRequest, target: Target): UpstreamRequest {
  return wrapBody(JSON.stringify(encodeBody(canonical, target)), canonical, target)
}

/** The request around a body in this protocol's own words. */
export function wrapBody(body: string | Uint8Array, { stream }: Pick<ChatRequest, 'stream'>, target: Target): UpstreamRequest {
  const method = stream === true ? 'streamGenerateContent?alt=sse' : 'generateContent'
  return { method: 'POST', url: `${modelUrl(target)}:${method}`, headers: { 'content-type': 'application/json' }, body }
}

/** The body alone, which is the same wherever the protocol is spoken. Throws as `encodeRequest` does. */
export function encodeBody(canonical: ChatRequest, target: Target): GenerateRequest {
  const refusals = createRefusals(canonical, target)
  const own = inOwnWords(canonical)
  const { request, generation, rest } = screen(own.request, target, refusals)
  const traits = traitsOf(target.model)
  const { system, contents } = encodeMessages(request.messages, traits)
  const { tools, config } = encodeTools(request, traits, refusals)
  const body: GenerateRequest = { contents }
  if (system.length > 0) body.systemInstruction = { parts: system }
  if (tools.length > 0) body.tools = tools
  if (config !== undefined) body.toolConfig = config
  const generationConfig = { ...generationFields(request, traits, refusals), ...generation }
  if (Object.keys(generationConfig).length > 0) body.generationConfig = generationConfig
  const tier = serviceTier(request.service_tier)
  if (tier !== undefined) body['serviceTier'] = tier
  if (own.tools !== null) body.tools = own.tools
  const { toolConfig: ownConfig, ...others } = rest
  Object.assign(body, others)
  if (isFields(ownConfig)) body.toolConfig = { ...config, ...ownConfig }
  // What a cache holds may not be sent again beside it.
  if (typeof body['cachedContent'] === 'string')
    for (const name of ['systemInstruction', 'tools', 'toolConfig']) delete body[name]
  refusals.check()
  return body
}

function generationFields(request: ChatRequest, traits: Traits, refusals: Refusals): Fields {
  const fields: Fields = {}
  const limit = request.max_completion_tokens ?? request.max_tokens
  const { temperature, top_p: topP, n, seed } = request
  if (typeof temperature === 'number') fields['temperature'] = temperature
  if (typeof topP === 'number') fields['topP'] = topP
  if (typeof request['top_k'] === 'number') fields['topK'] = request['top_k']
  if (typeof n === 'number' && n !== 1) fields['candidateCount'] = n
  if (typeof limit === 'number') fields['maxOutputTokens'] = limit
  const stop = typeof request.stop === 'string' ? [request.stop] : (request.stop ?? [])
  if (stop.length > 0) fields['stopSequences'] = stop
  if (typeof seed === 'number') fields['seed'] = seed
  if (typeof request['presence_penalty'] === 'number') fields['presencePenalty'] = request['presence_penalty']
  if (typeof request['frequency_penalty'] === 'number') fields['frequencyPenalty'] = request['frequency_penalty']
  if (typeof request['logprobs'] === 'boolean') fields['responseLogprobs'] = request['logprobs']
  if (typeof request['top_logprobs'] === 'number') fields['logprobs'] = request['top_logprobs']
  Object.assign(fields, responseFormat(request, traits, refusals), modalities(request))
  const thinking = encodeThinking(request, traits, refusals)
  if (thinking !== undefined) fields['thinkingConfig'] = thinking
  return fields
}

function responseFormat(request: ChatRequest, traits: Traits, refusals: Refusals): Fields {
  const format = request.response_format
  if (!isFields(format) || format.type === 'text') return {}
  if (format.type !== 'json_object' && format.type !== 'json_schema') {
    refusals.refuse('response_format')
    return {}
  }
  const fields: Fields = { responseMimeType: 'application/json' }
  // `response_schema` is how LiteLLM's clients give one to Google alone.
  const schema = (isFields(format.json_schema) ? format.json_schema.schema : undefined) ?? format['response_schema']
  if (!isFields(schema)) return fields
  if (traits.jsonSchema) fields['responseJsonSchema'] = jsonSchema(schema)
  else fields['responseSchema'] = openapiSchema(schema)
  return fields
}

function modalities(request: ChatRequest): Fields {
  const fields: Fields = {}
  const asked = request['modalities']
  if (Array.isArray(asked) && asked.some((kind) => kind !== 'text')) {
    fields['responseModalities'] = asked.map((kind) => String(kind).toUpperCase())
  }
  const audio = request['audio']
  if (isFields(audio) && text(audio['voice']) !== '') {
    fields['speechConfig'] = { voiceConfig: { prebuiltVoiceConfig: { voiceName: audio['voice'] } } }
  }
  return fields
}

/** `auto` and tiers that only OpenAI sells are left out. */
function serviceTier(tier: unknown): string | undefined {
  if (tier === 'default') return 'standard'
  return tier === 'flex' || tier === 'priority' || tier === 'standard' ? tier : undefined
}

/** `…/v1beta/models/gemini-2.5-flash`; tuned models have a folder of their own. Throws `bad_request` without a base. */
export function modelUrl({ base, model, apiVersion }: Target): string {
  if (base === '') throw new GatewayError('bad_request', 'litellm.BadRequestError: the deployment needs an api_base.')
  const versioned = /\/v\d[a-z0-9]*$/.test(base) ? base : bareHost(base) ? `${base}/${apiVersion ?? VERSION}` : base
  const path = /^(models|tunedModels)\//.test(model) ? model : `models/${model}`
  return `${versioned}/${path}`
}

function bareHost(base: string): boolean {
  return /^https?:\/\/[^/]+$/i.test(base)
}
