import { isObject } from '../../../shared/json-object.ts'
import type { ChatRequest, Tool, ToolChoice } from '../../canonical/chat.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import type { ResponsesRequest } from '../../canonical/responses.ts'
import { checkBody } from './check.ts'
import { conversationOf } from './input.ts'

type Fields = Readonly<Record<string, unknown>>

/** Fields that a chat has under the same name. */
export const SAME: readonly string[] = [
  'stream',
  'temperature',
  'top_p',
  'parallel_tool_calls',
  'user',
  'service_tier',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
]
/** Asked for by `include`. */
const LOGPROBS = 'message.output_text.logprobs'

/** The canonical request; the client's own stands beside it. Throws GatewayError `bad_request` naming the place that is wrong. */
export function decodeRequest(body: Record<string, unknown>): ChatRequest {
  checkBody(body)
  const { messages, unplaced } = conversationOf(body['instructions'], body['input'])
  const request: ChatRequest = {
    model: body['model'] as string,
    messages,
    responses: { body: body as unknown as ResponsesRequest, id: null, key: null, unplaced },
  }
  for (const name of SAME) if (body[name] !== undefined && body[name] !== null) request[name] = body[name]
  for (const name in body) if (name !== 'responses' && isGatewayField(name, body[name])) request[name] = body[name]
  if (typeof body['max_output_tokens'] === 'number') request.max_tokens = body['max_output_tokens']
  const { reasoning, text, include, top_logprobs: top } = body
  if (isObject(reasoning) && typeof reasoning['effort'] === 'string') request.reasoning_effort = reasoning['effort']
  if (Array.isArray(include) && include.includes(LOGPROBS)) request['logprobs'] = true
  if (typeof top === 'number' && top > 0) {
    request['logprobs'] = true
    request['top_logprobs'] = top
  }
  if (isObject(text)) {
    const format = formatOf(text['format'])
    if (format !== null) request.response_format = format
    if (typeof text['verbosity'] === 'string') request['verbosity'] = text['verbosity']
  }
  addTools(request, body['tools'], body['tool_choice'])
  return request
}

function formatOf(format: unknown): NonNullable<ChatRequest['response_format']> | null {
  if (!isObject(format) || format['type'] === 'text') return null
  const { type, ...described } = format
  if (type !== 'json_schema') return { ...format, type: type as string }
  return { type: 'json_schema', json_schema: described as { name: string } }
}

/** Functions and custom tools in chat's nested form; searching the web as chat's option; other hosted tools as they are. */
function addTools(request: ChatRequest, given: unknown, choice: unknown): void {
  if (!Array.isArray(given) || given.length === 0) return
  const allowed = allowedTools(choice)
  const tools: Tool[] = []
  for (const tool of given as Fields[]) {
    if (allowed !== null && !allowed.some((one) => names(one, tool))) continue
    if (isWebSearch(tool)) request['web_search_options'] = searchOptions(tool)
    else tools.push(toolOf(tool))
  }
  if (tools.length === 0) {
    delete request.parallel_tool_calls
    return
  }
  request.tools = tools
  const chosen = choiceOf(choice)
  if (chosen !== null) request.tool_choice = chosen
}

/** The tools a choice narrows the list to, which is how every provider can be told; null = all. */
function allowedTools(choice: unknown): Fields[] | null {
  if (!isObject(choice) || choice['type'] !== 'allowed_tools' || !Array.isArray(choice['tools'])) return null
  return choice['tools'].filter(isObject)
}

function names(one: Fields, tool: Fields): boolean {
  if (one['type'] !== tool['type']) return false
  return one['name'] === tool['name'] && one['server_label'] === tool['server_label']
}

function isWebSearch({ type }: Fields): boolean {
  return typeof type === 'string' && type.startsWith('web_search')
}

function searchOptions({ search_context_size: size, user_location: location }: Fields): Fields {
  const options: Record<string, unknown> = {}
  if (typeof size === 'string') options['search_context_size'] = size
  if (isObject(location)) {
    const { type: _type, ...approximate } = location
    options['user_location'] = { type: 'approximate', approximate }
  }
  return options
}

function toolOf(tool: Fields): Tool {
  if (tool['type'] === 'function') {
    const { type: _type, name, description, parameters, strict, ...rest } = tool
    const definition: NonNullable<Tool['function']> = { name: name as string }
    if (typeof description === 'string') definition.description = description
    if (isObject(parameters)) definition.parameters = parameters as Record<string, unknown>
    if (typeof strict === 'boolean') definition.strict = strict
    return { ...rest, type: 'function', function: definition }
  }
  if (tool['type'] !== 'custom') return tool as Tool
  const { type: _type, format, ...custom } = tool
  if (!isObject(format)) return { type: 'custom', custom }
  const { type, ...grammar } = format
  return { type: 'custom', custom: { ...custom, format: type === 'grammar' ? { type, grammar } : format } }
}

function choiceOf(choice: unknown): ToolChoice | null {
  if (choice === 'none' || choice === 'auto' || choice === 'required') return choice
  if (!isObject(choice)) return null
  const { type, name, mode } = choice
  if (type === 'function') return { type, function: { name: name as string } }
  if (type === 'custom') return { type, custom: { name } }
  // Whatever else names a hosted tool, which is refused or gone before a provider sees it.
  return type === 'allowed_tools' && mode === 'required' ? 'required' : null
}
