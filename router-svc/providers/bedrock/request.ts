import { entryOf } from '../../../shared/entry.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import { withCachePoints } from '../anthropic/cache-points.ts'
import { encodeThinking } from '../anthropic/thinking.ts'
import { dropNamed, isAllowed } from '../openai/parameters.ts'
import type { Target, UpstreamRequest } from '../provider.ts'
import { createRefusals, isForGateway, type Refusals, withoutCounterpart } from '../refusals.ts'
import { encodeMessages } from './messages.ts'
import { type Traits, traitsFor } from './models.ts'
import { encodeTools, jsonFormat, type Toolbox, textFormat, toolNames, withJsonTool } from './tools.ts'
import { modelUrl } from './url.ts'
import { type Fields, isFields, text } from './wire.ts'

/** OpenAI parameters without a counterpart, and the values that ask for nothing. */
const UNSUPPORTED = withoutCounterpart(
  'n',
  'logprobs',
  'top_logprobs',
  'seed',
  'frequency_penalty',
  'presence_penalty',
  'logit_bias',
  'modalities',
  'audio',
  'prediction',
  'verbosity',
  'functions',
  'function_call',
  'web_search_options',
)

/** Translated by name below. */
const TRANSLATED = new Set([
  'model',
  'messages',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'top_k',
  'stop',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'response_format',
  'reasoning_effort',
  'thinking',
  'service_tier',
  'anthropic_beta',
  'cache_control_injection_points',
])

/** Members of the request itself: sent as the client wrote them. Any other name is a field of the model. */
const OWN = new Set([
  'guardrailConfig',
  'performanceConfig',
  'requestMetadata',
  'promptVariables',
  'additionalModelResponseFieldPaths',
  'serviceTier',
  'outputConfig',
])

/** Hints to OpenAI's own machinery; an answer is the same without them. */
const HINTS = new Set([
  'user',
  'store',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
  'prompt_cache_options',
])

/** OpenAI's tiers in Bedrock's words; those it has not are left to the account's default. */
const TIERS: Readonly<Record<string, string>> = { default: 'default', priority: 'priority', flex: 'flex', reserved: 'reserved' }

const TOP = 0.95

interface Screened {
  /** The request without dropped parameters. */
  request: ChatRequest
  /** Of `OWN`. */
  own: Fields
  /** For `additionalModelRequestFields`. */
  fields: Fields
}

/**
 * The canonical request for Converse or ConverseStream. Throws `bad_request` naming the message, part or tool that cannot be carried, and
 * `unsupported_parameter` naming every parameter the model does not know (unless they may be dropped).
 */
export function encodeRequest(canonical: ChatRequest, target: Target): UpstreamRequest {
  const refusals = createRefusals(canonical, target)
  const screened = screen(canonical, target, refusals)
  const body = encodeBody(screened, target, traitsFor(target), refusals)
  refusals.check()
  const url = modelUrl(target, screened.request.stream === true ? 'converse-stream' : 'converse')
  return { method: 'POST', url, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

function encodeBody({ request, own, fields }: Screened, target: Target, traits: Traits, refusals: Refusals): Fields {
  const names = toolNames(request)
  const points = request['cache_control_injection_points'] ?? target.settings['cache_control_injection_points']
  const conversation = encodeMessages(withCachePoints(request.messages, points), names, {
    caches: traits.cache !== 'none',
    claude: traits.claude !== null,
  })
  let toolbox = encodeTools(request, names, conversation.called, traits, refusals)
  const given = request.max_completion_tokens ?? request.max_tokens
  const thinking = thinkingFields(request, traits, target, toolbox, refusals)
  const thinks = isFields(thinking['thinking']) && thinking['thinking']['type'] !== 'disabled'
  const format = jsonFormat(request, refusals)
  const output: Fields = isFields(own['outputConfig']) ? { ...own['outputConfig'] } : {}
  if (format !== null) {
    if (traits.structured && format.schema !== null) output['textFormat'] ??= textFormat(format, format.schema, traits)
    else toolbox = withJsonTool(toolbox, format, traits, thinks)
  }
  const inference: Fields = {}
  if (typeof given === 'number') inference['maxTokens'] = given
  Object.assign(inference, sampling(request, traits, thinks, refusals))
  const stop = stopSequences(request.stop)
  if (stop.length > 0) inference['stopSequences'] = stop

  const body: Fields = { messages: conversation.messages }
  if (conversation.system.length > 0) body['system'] = conversation.system
  if (Object.keys(inference).length > 0) body['inferenceConfig'] = inference
  if (toolbox.tools.length > 0)
    body['toolConfig'] = { tools: toolbox.tools, ...(toolbox.choice === undefined ? {} : { toolChoice: toolbox.choice }) }
  Object.assign(body, tier(request), own)
  if (Object.keys(output).length > 0) body['outputConfig'] = output
  const more = { ...thinking, ...topK(request, traits, thinks, refusals), ...betas(request, target, traits), ...fields }
  if (toolbox.native !== undefined) more['tool_choice'] ??= toolbox.native
  if (Object.keys(more).length > 0) body['additionalModelRequestFields'] = more
  return body
}

/** Sorts the parameters. A null means absent. */
function screen({ anthropic: _, ...canonical }: ChatRequest, target: Target, refusals: Refusals): Screened {
  const given: Fields = { ...canonical }
  dropNamed(given, canonical, target)
  const request: ChatRequest = { model: canonical.model as string, messages: canonical.messages as ChatRequest['messages'] }
  const own: Fields = isFields(target.settings['guardrailConfig']) ? { guardrailConfig: target.settings['guardrailConfig'] } : {}
  const fields: Fields = {}
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || name === '__proto__') continue
    const asksNothing = entryOf(UNSUPPORTED, name)
    if (TRANSLATED.has(name)) request[name] = value
    else if (OWN.has(name)) own[name] = value
    else if (name === 'additionalModelRequestFields') Object.assign(fields, value)
    else if (asksNothing !== undefined) {
      if (isAllowed(name, canonical, target)) fields[name] = value
      else if (!asksNothing(value)) refusals.refuse(name)
    } else if (!(isForGateway(name, value, HINTS) || name.startsWith('aws_')) || target.allowedOpenaiParams.includes(name))
      fields[name] = value
  }
  return { request, own, fields }
}

/** `thinking` and `reasoning_effort` in the words of the model's maker. */
function thinkingFields(request: ChatRequest, traits: Traits, target: Target, toolbox: Toolbox, refusals: Refusals): Fields {
  const { claude } = traits
  if (claude !== null) {
    const maxTokens = request.max_completion_tokens ?? request.max_tokens ?? target.maxOutputTokens ?? claude.maxOutput
    const forced =
      (toolbox.choice !== undefined && !('auto' in toolbox.choice)) || /^(any|tool)$/.test(text(toolbox.native?.['type']))
    const repair = target.dropParams || target.settings['modify_params'] === true
    const { thinking, effort } = encodeThinking(request, claude, { maxTokens, forcedTool: forced, repair }, refusals)
    return {
      ...(thinking === undefined ? {} : { thinking }),
      ...(effort === undefined ? {} : { output_config: { effort } }),
    }
  }
  const said: unknown = request.reasoning_effort
  const effort = isFields(said) ? text(said['effort']) : text(said)
  const refused = isFields(request.thinking) && request.thinking.type !== 'disabled' && !refusals.refuse('thinking')
  const thinking: Fields =
    isFields(request.thinking) && !refused && request.thinking.type !== 'disabled' ? { thinking: request.thinking } : {}
  if (effort === '') return thinking
  switch (traits.reasoning) {
    case 'effort':
      return { ...thinking, reasoning_effort: effort === 'minimal' || effort === 'none' ? 'low' : effort }
    case 'config':
      return effort === 'none' ? thinking : { ...thinking, reasoning_config: level(effort) }
    case 'nova':
      return effort === 'none'
        ? { ...thinking, reasoningConfig: { type: 'disabled' } }
        : { ...thinking, reasoningConfig: { type: 'enabled', maxReasoningEffort: level(effort) } }
    default:
      return effort === 'none' || !refusals.refuse('reasoning_effort') ? thinking : { ...thinking, reasoning_effort: effort }
  }
}

/** Makers beside Anthropic know three. */
function level(effort: string): string {
  if (effort === 'minimal') return 'low'
  return effort === 'xhigh' || effort === 'max' ? 'high' : effort
}

/** Temperature and top_p, where the model still has them: Claude with thinking, and its newest models, has not. */
function sampling(request: ChatRequest, { claude }: Traits, thinks: boolean, refusals: Refusals): Fields {
  const fields: Fields = {}
  const { temperature, top_p: topP } = request
  const fixed = claude !== null && (thinks || claude.sampling === 'none')
  if (typeof temperature === 'number' && (!fixed || (temperature !== 1 && refusals.refuse('temperature'))))
    fields['temperature'] = claude === null ? temperature : Math.min(Math.max(temperature, 0), 1)
  if (typeof topP !== 'number') return fields
  if (claude === null) return { ...fields, topP }
  const allowed = claude.sampling !== 'none' && (!thinks || topP >= TOP)
  const clashes = claude.sampling === 'one' && fields['temperature'] !== undefined
  if (topP !== 1 && ((allowed && !clashes) || refusals.refuse('top_p'))) fields['topP'] = topP
  return fields
}

function topK(request: ChatRequest, traits: Traits, thinks: boolean, refusals: Refusals): Fields {
  const value = request['top_k']
  if (typeof value !== 'number') return {}
  const fixed = traits.claude !== null && (thinks || traits.claude.sampling === 'none')
  if (fixed && !refusals.refuse('top_k')) return {}
  return traits.topK === 'nova' ? { inferenceConfig: { topK: value } } : { [traits.topK]: value }
}

/** Betas of Anthropic's API, which stand among the fields of the model here. */
function betas(request: ChatRequest, target: Target, { claude }: Traits): Fields {
  if (claude === null) return {}
  const asked = [request['anthropic_beta'], target.clientHeaders['anthropic-beta'], target.settings['anthropic_beta']]
  const names = asked
    .flatMap((value) => (Array.isArray(value) ? value.map(String) : text(value).split(',')))
    .map((name) => name.trim())
    .filter((name) => name !== '')
  return names.length === 0 ? {} : { anthropic_beta: [...new Set(names)] }
}

function tier(request: ChatRequest): Fields {
  const type = entryOf(TIERS, text(request.service_tier))
  return type === undefined ? {} : { serviceTier: { type } }
}

function stopSequences(stop: ChatRequest['stop']): string[] {
  const given: unknown[] = Array.isArray(stop) ? stop : [stop]
  return given.filter((entry): entry is string => typeof entry === 'string' && entry.trim() !== '')
}
