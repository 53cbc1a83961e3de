import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest, Tool } from '../../canonical/chat.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import { type Fields, isFields } from '../json.ts'
import { dropNamed, isAllowed } from '../openai/parameters.ts'
import type { Target, UpstreamRequest } from '../provider.ts'
import { createRefusals, type Refusals, withoutCounterpart } from '../refusals.ts'
import { encodeMessages } from './messages.ts'
import { endpointUrl, text } from './wire.ts'

/** OpenAI's parameters without a counterpart, and the values that ask for nothing. */
const UNSUPPORTED = withoutCounterpart(
  'n',
  'top_logprobs',
  'logit_bias',
  'parallel_tool_calls',
  'modalities',
  'audio',
  'prediction',
  'verbosity',
  'web_search_options',
  'functions',
  'function_call',
)

/** Its absence changes nothing a client can see. */
const HINTS = new Set([
  'user',
  'store',
  'service_tier',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
  'stream_options',
  'cache_control_injection_points',
])

/** Written by name below. */
const TRANSLATED = new Set([
  'model',
  'messages',
  'stream',
  'max_tokens',
  'max_completion_tokens',
  'top_p',
  'top_k',
  'stop',
  'tools',
  'tool_choice',
  'response_format',
  'reasoning_effort',
  'thinking',
])

/** Tokens of thinking for an effort, LiteLLM's up to `high`; null: as many as the model likes. */
const BUDGETS: Readonly<Record<string, number | null>> = {
  minimal: 1024,
  low: 1024,
  medium: 2048,
  high: 4096,
  xhigh: 8192,
  max: null,
}

/** A chat for the v2 API. Throws GatewayError `unsupported_parameter` or `bad_request`. */
export function encodeChat(canonical: ChatRequest, target: Target): UpstreamRequest {
  const refusals = createRefusals(canonical, target)
  const given = ownFields(canonical)
  dropNamed(given, canonical, target)
  const body: Fields = {
    model: target.model,
    messages: encodeMessages(canonical.messages),
    ...(given['stream'] === true ? { stream: true } : {}),
  }
  for (const [name, value] of Object.entries(given)) {
    if (TRANSLATED.has(name)) continue
    if (!isAllowed(name, canonical, target)) {
      if (HINTS.has(name)) continue
      const asksNothing = entryOf(UNSUPPORTED, name)
      if (asksNothing !== undefined) {
        if (!asksNothing(value)) refusals.refuse(name)
        continue
      }
    }
    body[name] = value
  }
  put(body, 'max_tokens', given['max_completion_tokens'] ?? given['max_tokens'])
  put(body, 'p', body['p'] ?? given['top_p'])
  put(body, 'k', body['k'] ?? given['top_k'])
  const { stop } = given
  put(body, 'stop_sequences', body['stop_sequences'] ?? (typeof stop === 'string' ? [stop] : stop))
  putTools(body, given, refusals)
  put(body, 'response_format', responseFormat(given['response_format']))
  put(body, 'thinking', thinking(given))
  refusals.check()
  return {
    method: 'POST',
    url: endpointUrl(target.base, 'chat'),
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  }
}

/** Everything but what speaks to the gateway, `extra_body` unpacked into it. A null means absent. */
export function ownFields(request: Readonly<Fields>): Fields {
  const own: Fields = {}
  const extra = isFields(request['extra_body']) ? request['extra_body'] : {}
  for (const [name, value] of [...Object.entries(request), ...Object.entries(extra)]) {
    if (value !== null && value !== undefined && name !== '__proto__' && !isGatewayField(name, value)) own[name] = value
  }
  return own
}

function put(body: Fields, name: string, value: unknown): void {
  if (value !== undefined) body[name] = value
}

/** There is no choice of one tool: it goes alone, and one must be called. `auto` has no word. */
function putTools(body: Fields, given: Fields, refusals: Refusals): void {
  let tools = Array.isArray(given['tools']) ? (given['tools'] as Tool[]) : []
  const named = tools.filter((tool) => tool.type === 'function' && tool.function !== undefined)
  if (named.length < tools.length && !refusals.refuse('tools')) tools = named
  if (tools.length === 0) return
  const choice = given['tool_choice']
  if (choice === 'none' || choice === 'NONE') body['tool_choice'] = 'NONE'
  else if (choice === 'required' || choice === 'REQUIRED') body['tool_choice'] = 'REQUIRED'
  else if (isFields(choice) && isFields(choice['function'])) {
    const name = text(choice['function']['name'])
    tools = tools.filter((tool) => tool.function?.name === name)
    if (tools.length === 0) {
      throw new GatewayError('bad_request', `litellm.BadRequestError: tool_choice names ${name}, which is not among the tools.`, {
        param: 'tool_choice',
      })
    }
    body['tool_choice'] = 'REQUIRED'
  } else if (choice !== undefined && choice !== 'auto' && refusals.refuse('tool_choice')) body['tool_choice'] = choice
  body['tools'] = tools.map(encodeTool)
  if (tools.every((tool) => tool.function?.strict === true)) body['strict_tools'] ??= true
}

function encodeTool(tool: Tool): Fields {
  if (tool.function === undefined) return tool
  const { name, description, parameters } = tool.function
  return {
    type: 'function',
    function: {
      name,
      ...(description === undefined ? {} : { description }),
      parameters: parameters ?? { type: 'object', properties: {} },
    },
  }
}

/** A schema stands directly under `json_schema`, and its type is that of any JSON. */
function responseFormat(format: unknown): unknown {
  if (!isFields(format) || format['type'] !== 'json_schema') return format
  const inner = format['json_schema']
  return { type: 'json_object', ...(isFields(inner) ? { json_schema: isFields(inner['schema']) ? inner['schema'] : inner } : {}) }
}

function thinking(given: Fields): Fields | undefined {
  const explicit = given['thinking']
  if (isFields(explicit)) {
    const { budget_tokens: budget, ...others } = explicit
    return {
      ...others,
      type: explicit['type'] === 'disabled' ? 'disabled' : 'enabled',
      ...(budget === undefined ? {} : { token_budget: budget }),
    }
  }
  const wish = given['reasoning_effort']
  if (wish === undefined) return undefined
  const effort = isFields(wish) ? text(wish['effort']) : text(wish)
  if (effort === 'none' || effort === 'disable') return { type: 'disabled' }
  const budget = entryOf(BUDGETS, effort)
  if (budget === undefined) {
    const known = ['none', ...Object.keys(BUDGETS)].join(', ')
    throw new GatewayError('bad_request', `litellm.BadRequestError: reasoning_effort must be one of ${known}.`, {
      param: 'reasoning_effort',
    })
  }
  return budget === null ? { type: 'enabled' } : { type: 'enabled', token_budget: budget }
}
