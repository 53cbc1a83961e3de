import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest, Tool } from '../../canonical/chat.ts'
import type { CompletionRequest } from '../../canonical/completion.ts'
import type { EmbeddingRequest } from '../../canonical/embedding.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import { dropNamed, dropQuietly, parameterRule, refuseUnsupported } from '../openai/parameters.ts'
import type { Target, UpstreamRequest } from '../provider.ts'
import { encodeMessages } from './messages.ts'
import { address, type Fields, isFields, text } from './wire.ts'

/** The server's own names at the top of a body; what is neither one of them nor translated is an option of the model (`num_ctx`, `top_k`). */
const TOP = [
  'keep_alive',
  'truncate',
  'shift',
  'logprobs',
  'top_logprobs',
  'template',
  'system',
  'raw',
  'suffix',
  'context',
] as const

/** Translated by name, in one mode or another. */
const TRANSLATED = [
  'model',
  'messages',
  'prompt',
  'input',
  'stream',
  'stream_options',
  'tools',
  'tool_choice',
  'response_format',
  'reasoning_effort',
  'thinking',
  'think',
  'format',
  'options',
  'max_tokens',
  'max_completion_tokens',
  'stop',
  'encoding_format',
] as const

const NOT_OPTIONS: ReadonlySet<string> = new Set([...TOP, ...TRANSLATED])

export interface Encoders {
  chat(request: ChatRequest, target: Target): UpstreamRequest
  completion(request: CompletionRequest, target: Target): UpstreamRequest
  embedding(request: EmbeddingRequest, target: Target): UpstreamRequest
}

/** Requests of all modes for one row of the table; each throws `unsupported_parameter` or `bad_request`, naming what. */
export function encoders(row: ProviderRow): Encoders {
  const unsupported = (row.unsupported ?? []).map(parameterRule)
  const dropped = (row.drop ?? []).map(parameterRule)
  /** A text completion's own; its `logprobs` is a number, and not the server's. */
  const noCompletion = ['best_of>1', 'echo', 'logprobs'].map(parameterRule)

  const screened = (request: Readonly<Fields>, target: Target, rules = unsupported): Fields => {
    const given: Fields = {}
    for (const [name, value] of Object.entries(request))
      if (value !== null && value !== undefined && !isGatewayField(name, value)) given[name] = value
    // The one answer there is.
    if (given['n'] === 1) delete given['n']
    dropNamed(given, request, target)
    dropQuietly(given, dropped)
    refuseUnsupported(given, rules, request, target)
    return given
  }

  return {
    chat(request, target) {
      const given = screened(request, target)
      const body: Fields = { model: target.model, messages: encodeMessages(request.messages) }
      const tools = toolsOf(given)
      if (tools.length > 0) body['tools'] = tools
      return send(target, '/api/chat', { ...body, ...generation(given, target) })
    },
    completion(request, target) {
      const given = screened(without(request, 'echo', false), target, [...unsupported, ...noCompletion])
      return send(target, '/api/generate', {
        model: target.model,
        prompt: promptOf(request.prompt),
        ...generation(given, target),
      })
    },
    embedding(request, target) {
      const { dimensions, ...given } = screened(request, target)
      const options = optionsOf(given)
      return send(target, '/api/embed', {
        model: target.model,
        input: inputOf(request.input),
        ...(dimensions === undefined ? {} : { dimensions }),
        ...topOf(given),
        ...(Object.keys(options).length > 0 ? { options } : {}),
      })
    },
  }
}

function send(target: Target, path: Parameters<typeof address>[1], body: Fields): UpstreamRequest {
  const headers = { 'content-type': 'application/json' }
  return { method: 'POST', url: address(target, path), headers, body: JSON.stringify(body) }
}

/** What chats and text completions say the same way. */
function generation(given: Fields, target: Target): Fields {
  const body: Fields = {}
  const format = formatOf(given)
  if (format !== undefined) body['format'] = format
  const options = optionsOf(given)
  if (Object.keys(options).length > 0) body['options'] = options
  // Without it the server streams.
  body['stream'] = given['stream'] === true
  const think = thinkOf(given, target.model)
  if (think !== undefined) body['think'] = think
  return { ...body, ...topOf(given) }
}

function topOf(given: Fields): Fields {
  const fields: Fields = {}
  for (const name of TOP) if (given[name] !== undefined) fields[name] = given[name]
  return fields
}

/** `options` as the client gave it wins over the parameters that mean the same. */
function optionsOf(given: Fields): Fields {
  const options: Fields = {}
  for (const [name, value] of Object.entries(given)) if (!NOT_OPTIONS.has(name)) options[name] = value
  const limit = given['max_completion_tokens'] ?? given['max_tokens']
  if (limit !== undefined) options['num_predict'] ??= limit
  const stop = given['stop']
  if (stop !== undefined) options['stop'] = Array.isArray(stop) ? stop : [stop]
  return isFields(given['options']) ? { ...options, ...given['options'] } : options
}

/** `json`, a JSON schema, or undefined. A format under the server's own name wins. */
function formatOf(given: Fields): unknown {
  if (given['format'] !== undefined) return given['format']
  const format = given['response_format']
  if (!isFields(format) || format['type'] === 'text') return undefined
  if (format['type'] === 'json_object') return isFields(format['schema']) ? format['schema'] : 'json'
  const described = format['json_schema']
  if (format['type'] === 'json_schema') return isFields(described) && isFields(described['schema']) ? described['schema'] : 'json'
  throw refuse(
    'response_format',
    `response_format.type ${JSON.stringify(format['type'])} is none of text, json_object, json_schema.`,
  )
}

/** The one family that takes a level, and only one; for the others thinking is on or off. */
const LEVELLED = /gpt-oss/
const LEVELS: Readonly<Record<string, string>> = {
  minimal: 'low',
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'high',
  max: 'high',
}

function thinkOf(given: Fields, model: string): unknown {
  if (given['think'] !== undefined) return given['think']
  const asked = given['reasoning_effort']
  // The Responses form, `{effort, summary}`, is common in chat requests too.
  const effort = isFields(asked) ? asked['effort'] : asked
  if (effort !== undefined && effort !== null) {
    if (effort === 'none' || effort === 'disable') return false
    const level = entryOf(LEVELS, text(effort))
    if (level === undefined)
      throw refuse('reasoning_effort', `reasoning_effort must be none or one of ${Object.keys(LEVELS).join(', ')}.`)
    return LEVELLED.test(model) ? level : true
  }
  const thinking = given['thinking']
  return isFields(thinking) ? thinking['type'] !== 'disabled' : undefined
}

/**
 * The server knows no choice among tools. None of them, or one alone, can be offered in its place; that one of them must be called cannot be
 * said, and is left to the model, as LiteLLM leaves it.
 */
function toolsOf(given: Fields): Tool[] {
  const tools = Array.isArray(given['tools']) ? (given['tools'] as Tool[]) : []
  for (const [index, tool] of tools.entries())
    if (!isFields(tool.function))
      throw refuse(`tools[${index}]`, `tools[${index}] is no function, and Ollama takes no other tools.`)
  const choice = given['tool_choice']
  if (choice === 'none') return []
  const named = isFields(choice) && isFields(choice['function']) ? text(choice['function']['name']) : ''
  return named === '' ? tools : tools.filter((tool) => tool.function?.name === named)
}

function promptOf(prompt: CompletionRequest['prompt']): string {
  const only: unknown = Array.isArray(prompt) && prompt.length === 1 ? prompt[0] : prompt
  if (typeof only === 'string') return only
  throw refuse('prompt', 'prompt must be one string: Ollama takes no tokens and no lists.')
}

function inputOf(input: EmbeddingRequest['input']): string | string[] {
  if (typeof input === 'string') return input
  if (Array.isArray(input) && input.every((entry) => typeof entry === 'string')) return input as string[]
  throw refuse('input', 'input must be a string or a list of strings: Ollama takes no tokens.')
}

/** The request without a parameter whose value asks for nothing. */
function without(request: CompletionRequest, name: string, nothing: unknown): CompletionRequest {
  return request[name] === nothing ? { ...request, [name]: undefined } : request
}

function refuse(param: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${problem}`, { param })
}
