import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { ChatRequest, Message } from '../../canonical/chat.ts'
import type { ResponsesRequest } from '../../canonical/responses.ts'
import { type Fields, isFields, text } from '../json.ts'
import { dropQuietly, isAllowed, mayDrop, parameterRule, refuseUnsupported } from '../openai/parameters.ts'
import type { Target, UpstreamRequest } from '../provider.ts'
import { createRefusals } from '../refusals.ts'
import { refuse } from './content.ts'
import { encodeInput } from './input.ts'
import { reasons } from './models.ts'
import { withOwnItems } from './own-items.ts'
import { screen } from './parameters.ts'
import { encodeFormat, encodeToolChoice, encodeTools } from './tools.ts'

/** Where requests to this protocol go. */
export type UrlOf = (target: Target) => string

/**
 * Canonical chats as `POST {base}/responses` for one row of the table. Throws GatewayError `unsupported_parameter` naming every parameter
 * that has no counterpart (unless they may be dropped), and `bad_request` naming the message or part that cannot be carried.
 */
export function requestEncoder(row: ProviderRow, urlOf: UrlOf): (request: ChatRequest, target: Target) => UpstreamRequest {
  const unsupported = (row.unsupported ?? []).map(parameterRule)
  const dropped = (row.drop ?? []).map(parameterRule)
  const headers = { 'content-type': 'application/json', ...row.headers }
  return (canonical, target) => {
    const refusals = createRefusals(canonical, target)
    const { request, rest } = screen(canonical, target, refusals)
    const messages = withOwnItems(request.messages, canonical['responses'])
    const body = encodeBody({ ...request, messages: messages as Message[] }, rest, target)
    refusals.check()
    dropQuietly(body, dropped)
    refuseUnsupported(body, unsupported, canonical, target)
    if (body['reasoning'] === undefined || !isSilent(body['reasoning'])) dropSampling(body, canonical, target)
    return { method: 'POST', url: urlOf(target), headers: { ...headers }, body: JSON.stringify(body) }
  }
}

function encodeBody(request: ChatRequest, rest: Fields, target: Target): Fields {
  const stored = request['store'] === true || rest['previous_response_id'] !== undefined || rest['conversation'] !== undefined
  const { instructions, items } = encodeInput(request.messages, stored)
  const body: ResponsesRequest = { model: target.model, input: items }
  const given = [text(request['instructions']), instructions].filter((part) => part !== null && part !== '')
  if (given.length > 0) body.instructions = given.join('\n\n')
  if (request.stream === true) {
    body.stream = true
    const obfuscation = request.stream_options?.['include_obfuscation']
    if (typeof obfuscation === 'boolean') body.stream_options = { include_obfuscation: obfuscation }
  }
  const limit = request.max_completion_tokens ?? request.max_tokens
  if (typeof limit === 'number') body.max_output_tokens = limit
  const tools = encodeTools(request)
  if (tools.length > 0) {
    body.tools = tools
    const choice = encodeToolChoice(request.tool_choice)
    if (choice !== undefined) body.tool_choice = choice
  } else delete rest['parallel_tool_calls']
  const words = textOptions(request)
  if (words !== undefined) body.text = words
  const reasoning = reasoningOf(request)
  if (reasoning !== undefined) body.reasoning = reasoning
  // The gateway answers chats, which keep their history themselves.
  body.store = request['store'] === true
  const include = included(request, target, body)
  if (include.length > 0) body.include = include
  return { ...rest, ...body }
}

function textOptions(request: ChatRequest): ResponsesRequest['text'] | undefined {
  const given = isFields(request['text']) ? request['text'] : {}
  const format = encodeFormat(request.response_format)
  const words = { ...given }
  if (format !== undefined) words['format'] ??= format
  if (request['verbosity'] !== undefined) words['verbosity'] ??= request['verbosity']
  return Object.keys(words).length > 0 ? words : undefined
}

/** `reasoning` in this API's own form wins; `reasoning_effort` may be that form, too, as LiteLLM's clients write it. */
function reasoningOf(request: ChatRequest): Fields | undefined {
  if (isFields(request['reasoning'])) return request['reasoning']
  const effort: unknown = request.reasoning_effort
  if (isFields(effort)) return effort
  if (effort === undefined) return undefined
  if (typeof effort !== 'string') throw refuse('reasoning_effort', 'reasoning_effort must be a string or an object.')
  // LiteLLM's word for none.
  return { effort: effort === 'disable' ? 'none' : effort }
}

/** Whether reasoning is turned off. */
function isSilent(reasoning: unknown): boolean {
  return isFields(reasoning) && reasoning['effort'] === 'none'
}

function included(request: ChatRequest, target: Target, body: ResponsesRequest): string[] {
  const include = new Set(Array.isArray(request['include']) ? (request['include'] as string[]) : [])
  if (request['logprobs'] === true) include.add('message.output_text.logprobs')
  // Without it the next turn would have to think again; models that do not think refuse it.
  const thinks = reasons(target.baseModel ?? target.model) || (body.reasoning != null && !isSilent(body.reasoning))
  if (body.store === false && thinks) include.add('reasoning.encrypted_content')
  return [...include]
}

const SAMPLING = ['temperature', 'top_p', 'top_logprobs']

/** Models that think take no sampling parameters: they go under `drop_params`, as with chat. */
function dropSampling(body: Fields, canonical: ChatRequest, target: Target): void {
  if (!reasons(target.baseModel ?? target.model) || !mayDrop(canonical, target)) return
  for (const name of SAMPLING) {
    if (name === 'temperature' && body[name] === 1) continue
    if (!isAllowed(name, canonical, target)) delete body[name]
  }
  if (!Array.isArray(body['include']) || isAllowed('logprobs', canonical, target)) return
  const include = (body['include'] as unknown[]).filter((entry) => entry !== 'message.output_text.logprobs')
  if (include.length > 0) body['include'] = include
  else delete body['include']
}
