import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import type { Target, UpstreamRequest } from '../provider.ts'
import { createRefusals, type Refusals } from '../refusals.ts'
import { askedBetas, betaHeader, hasSystemTurns, neededBetas } from './betas.ts'
import { withCachePoints } from './cache-points.ts'
import { encodeMessages } from './messages.ts'
import { type Traits, traitsOf } from './models.ts'
import { toolNames } from './names.ts'
import { screen } from './parameters.ts'
import { strictSchema } from './schema.ts'
import { encodeThinking } from './thinking.ts'
import { encodeTools, type JsonFormat, jsonFormat, type Toolbox, withJsonTool } from './tools.ts'
import { ANTHROPIC_VERSION, type Fields, isFields, type MessagesRequest, text } from './wire.ts'

/** Room left for the answer beside a thinking budget when the client set no limit, in tokens. */
const ANSWER_ROOM = 4096

/**
 * The canonical request as `POST /v1/messages`. Throws `bad_request` naming the message, part or tool that cannot be carried, and
 * `unsupported_parameter` naming every parameter the model does not know (unless they may be dropped).
 */
export function encodeRequest(canonical: ChatRequest, target: Target): UpstreamRequest {
  const { body, betas, version } = encodeMessage(canonical, target)
  return wrapped(JSON.stringify(body), version, betas, target)
}

/** The body alone, the betas it needs or is to have (a header's value, empty = none), and the version. Throws as `encodeRequest` does. */
export function encodeMessage(canonical: ChatRequest, target: Target): { body: MessagesRequest; betas: string; version: string } {
  const refusals = createRefusals(canonical, target)
  const { request, rest } = screen(canonical, target, refusals)
  const asked = askedBetas(request, target)
  const body = encodeBody(request, rest, target, refusals, hasSystemTurns(asked))
  refusals.check()
  return { body, betas: betaHeader(asked, neededBetas(body)), version: versionOf(request, target) }
}

/** The request around a body that a client wrote in this protocol, and whose betas it knows itself. `own`: that client's fields. */
export function wrapBody(body: Uint8Array, own: Fields, target: Target): UpstreamRequest {
  return wrapped(body, versionOf(own, target), betaHeader(askedBetas(own, target), []), target)
}

/** The request around a body, with the headers that belong to it. */
export function wrapped(body: string | Uint8Array, version: string, betas: string, target: Target): UpstreamRequest {
  const headers: Record<string, string> = { 'content-type': 'application/json', 'anthropic-version': version }
  if (betas !== '') headers['anthropic-beta'] = betas
  return { method: 'POST', url: messagesUrl(target.base), headers, body }
}

function encodeBody(
  request: ChatRequest,
  rest: Fields,
  target: Target,
  refusals: Refusals,
  systemTurns: boolean,
): MessagesRequest {
  const traits = traitsOf(target.model)
  const names = toolNames(request)
  const given = request.max_completion_tokens ?? request.max_tokens
  let toolbox = encodeTools(request, names, traits, refusals)
  const format = jsonFormat(request, refusals)
  const circumstances = {
    maxTokens: given ?? target.maxOutputTokens ?? traits.maxOutput,
    forcedTool: isForced(toolbox),
    repair: target.dropParams || target.settings['modify_params'] === true,
  }
  const { thinking, effort } = encodeThinking(request, traits, circumstances, refusals)
  const config: Fields = isFields(request['output_config']) ? { ...request['output_config'] } : {}
  if (effort !== undefined) config['effort'] ??= effort
  if (format !== null) {
    if (format.schema !== null && traits.structured) config['format'] ??= outputFormat(format)
    else toolbox = withJsonTool(toolbox, format, thinking?.['type'] === 'enabled')
  }
  const points = request['cache_control_injection_points'] ?? target.settings['cache_control_injection_points']
  const { system, messages } = encodeMessages(withCachePoints(request.messages, points), names, systemTurns)
  const body: MessagesRequest = { model: target.model, max_tokens: given ?? defaultMaxTokens(target, traits, thinking), messages }
  if (system.length > 0) body.system = system
  if (toolbox.tools.length > 0) {
    body.tools = toolbox.tools
    if (toolbox.choice !== undefined) body.tool_choice = toolbox.choice
  }
  if (request.stream === true) body.stream = true
  if (thinking !== undefined) body.thinking = thinking
  if (Object.keys(config).length > 0) body.output_config = config
  const thinks = thinking !== undefined && thinking['type'] !== 'disabled'
  Object.assign(body, sampling(request, traits, thinks, refusals), identity(request), tier(request), rest)
  const stop = stopSequences(request.stop)
  if (stop.length > 0) body['stop_sequences'] = stop
  return body
}

function isForced(toolbox: Toolbox): boolean {
  return toolbox.choice?.['type'] === 'any' || toolbox.choice?.['type'] === 'tool'
}

function outputFormat(format: JsonFormat): Fields {
  return { type: 'json_schema', schema: strictSchema({ type: 'object', ...format.schema }) }
}

function defaultMaxTokens(target: Target, traits: Traits, thinking: Fields | undefined): number {
  const limit = target.maxOutputTokens ?? traits.maxOutput
  const budget = thinking?.['budget_tokens']
  return typeof budget === 'number' ? Math.max(limit, budget + ANSWER_ROOM) : limit
}

/** Temperature, top_p and top_k, where the model still has them: with thinking, and on the newest models, it has not. */
function sampling(request: ChatRequest, traits: Traits, thinks: boolean, refusals: Refusals): Fields {
  const fields: Fields = {}
  const fixed = thinks || traits.sampling === 'none'
  const { temperature, top_p: topP } = request
  const topK = request['top_k']
  if (typeof temperature === 'number') {
    if (!fixed || (temperature !== 1 && refusals.refuse('temperature')))
      fields['temperature'] = Math.min(Math.max(temperature, 0), 1)
  }
  if (typeof topP === 'number' && topP !== 1) {
    // With thinking the API takes a top_p from 0.95.
    const allowed = traits.sampling !== 'none' && (!thinks || topP >= 0.95)
    const clashes = traits.sampling === 'one' && fields['temperature'] !== undefined
    if ((allowed && !clashes) || refusals.refuse('top_p')) fields['top_p'] = topP
  }
  if (topK !== undefined && (!fixed || refusals.refuse('top_k'))) fields['top_k'] = topK
  return fields
}

const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/
const PHONE = /^\+?[\d\s().-]{7,20}$/

/** `metadata.user_id`: an opaque id only. The API asks for no names, e-mail addresses or phone numbers. */
function identity(request: ChatRequest): Fields {
  const metadata = isFields(request.metadata) ? request.metadata : {}
  const id = text(metadata['user_id']) || text(request.user)
  return id === '' || EMAIL.test(id) || PHONE.test(id) ? {} : { metadata: { user_id: id } }
}

/** OpenAI's tiers in Anthropic's two; tiers that only OpenAI sells (flex, scale) are left out. */
function tier(request: ChatRequest): Fields {
  switch (request.service_tier) {
    case 'auto':
    case 'priority':
      return { service_tier: 'auto' }
    case 'default':
    case 'standard_only':
      return { service_tier: 'standard_only' }
    default:
      return {}
  }
}

/** The API refuses sequences of white space alone. */
function stopSequences(stop: ChatRequest['stop']): string[] {
  const given: unknown[] = Array.isArray(stop) ? stop : [stop]
  return given.filter((entry): entry is string => typeof entry === 'string' && entry.trim() !== '')
}

function versionOf(request: Fields, target: Target): string {
  const configured = text(request['anthropic_version'] ?? target.settings['anthropic_version'], target.apiVersion ?? '')
  return /^\d{4}-\d{2}-\d{2}$/.test(configured) ? configured : ANTHROPIC_VERSION
}

/** Operators write the base with or without the path. */
function messagesUrl(base: string): string {
  if (base === '') throw new GatewayError('bad_request', 'litellm.BadRequestError: the deployment needs an api_base.')
  if (base.endsWith('/v1/messages')) return base
  return base.endsWith('/v1') ? `${base}/messages` : `${base}/v1/messages`
}
