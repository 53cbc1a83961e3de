import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest, Tool } from '../../canonical/chat.ts'
import type { Refusals } from '../refusals.ts'
import type { Traits } from './models.ts'
import { type Sanitiser, toolName } from './names.ts'
import { inputSchema, strictSchema } from './schema.ts'
import { type Fields, isFields, JSON_TOOL, text } from './wire.ts'

export interface Toolbox {
  tools: Fields[]
  choice?: Fields
}

/** Fields of a function tool that only Anthropic knows; clients put them beside or inside `function`. */
const NATIVE_FIELDS = ['cache_control', 'defer_loading', 'eager_input_streaming', 'input_examples', 'allowed_callers']

/** Searches a `search_context_size` allows; LiteLLM's numbers. */
const SEARCHES: Readonly<Record<string, number>> = { low: 1, medium: 5, high: 10 }

/** Tools and the choice among them, as the client asked. The JSON tool is added later (`withJsonTool`). */
export function encodeTools(request: ChatRequest, names: Sanitiser, traits: Traits, refusals: Refusals): Toolbox {
  const tools: Fields[] = []
  for (const [index, tool] of (request.tools ?? []).entries()) tools.push(encodeTool(tool, `tools[${index}]`, names, traits))
  const search = request['web_search_options']
  if (isFields(search) && !tools.some((tool) => tool['name'] === 'web_search')) tools.push(searchTool(search))
  if (tools.length === 0) return { tools }
  const toolbox = choose(tools, request.tool_choice, names, refusals)
  if (request.parallel_tool_calls === false) {
    toolbox.choice ??= { type: 'auto' }
    if (toolbox.choice['type'] !== 'none') toolbox.choice = { ...toolbox.choice, disable_parallel_tool_use: true }
  }
  return toolbox
}

/**
 * Structured output on models without it: a tool whose input is the answer. Its calls become content again (answer.ts). A client's own
 * tools stay possible, unless the client forbade them; where it demands one of them, that comes first and the format has to wait.
 */
export function withJsonTool(toolbox: Toolbox, format: JsonFormat, thinking: boolean): Toolbox {
  const asked = text(toolbox.choice?.['type'])
  if (asked === 'any' || asked === 'tool' || toolbox.tools.some((tool) => tool['name'] === JSON_TOOL)) return toolbox
  const description = format.description || 'Gives the answer. Call it exactly once, with the complete answer as its input.'
  const tools = [...toolbox.tools, { name: JSON_TOOL, description, input_schema: inputSchema(format.schema) }]
  // With a thinking budget the API refuses a forced tool.
  if (thinking) return { tools, choice: { ...toolbox.choice, type: 'auto' } }
  const only = toolbox.tools.length === 0 || asked === 'none'
  return {
    tools,
    choice: only ? { type: 'tool', name: JSON_TOOL, disable_parallel_tool_use: true } : { ...toolbox.choice, type: 'any' },
  }
}

export interface JsonFormat {
  /** Null for `json_object`: any object. */
  schema: Fields | null
  description: string
}

/** The structured output asked for, or null. Throws `bad_request` for a schema that is not one of an object. */
export function jsonFormat(request: ChatRequest, refusals: Refusals): JsonFormat | null {
  const format = request.response_format
  if (!isFields(format) || format.type === 'text') return null
  if (format.type === 'json_object') return { schema: null, description: '' }
  if (format.type !== 'json_schema') {
    refusals.refuse('response_format')
    return null
  }
  const schema = format.json_schema?.schema
  if (schema !== undefined && (!isFields(schema) || (schema['type'] !== undefined && schema['type'] !== 'object'))) {
    throw new GatewayError(
      'bad_request',
      'litellm.BadRequestError: response_format.json_schema.schema must describe an object.',
      {
        param: 'response_format',
      },
    )
  }
  return { schema: schema ?? null, description: text(format.json_schema?.description) }
}

function encodeTool(tool: Tool, path: string, names: Sanitiser, traits: Traits): Fields {
  if (!isFields(tool)) throw refuse(path, 'must be an object')
  const definition = tool.function
  if (isFields(tool['custom'])) throw refuse(path, 'is of type custom, which Anthropic does not support')
  if (!isFields(definition)) return nativeTool(tool, names)
  const name = text(definition.name)
  if (name === '') throw refuse(`${path}.function`, 'has no name')
  if (tool.type !== 'function' && tool.type !== undefined) {
    // LiteLLM's way to write a native tool: its settings as the parameters of a function.
    return { type: tool.type, name, ...(isFields(definition.parameters) ? definition.parameters : {}) }
  }
  const encoded: Fields = { name: names.clean(name) }
  if (typeof definition.description === 'string') encoded['description'] = definition.description
  const strict = definition.strict === true && traits.structured
  const schema = inputSchema(definition.parameters)
  encoded['input_schema'] = strict ? strictSchema(schema) : schema
  if (strict) encoded['strict'] = true
  const inner: Fields = definition
  for (const field of NATIVE_FIELDS) {
    const value = tool[field] ?? inner[field]
    if (value !== undefined && value !== null) encoded[field] = value
  }
  return encoded
}

/** One of Anthropic's own tools, or a function in Anthropic's form: only the latter's name may need cleaning. */
function nativeTool(tool: Fields, names: Sanitiser): Fields {
  const name = toolName(tool)
  return isFields(tool['input_schema']) && name !== '' ? { ...tool, name: names.clean(name) } : tool
}

function searchTool(options: Fields): Fields {
  const tool: Fields = { type: 'web_search_20250305', name: 'web_search' }
  const uses = entryOf(SEARCHES, text(options['search_context_size']))
  if (uses !== undefined) tool['max_uses'] = uses
  const location = options['user_location']
  if (isFields(location))
    tool['user_location'] = { type: 'approximate', ...(isFields(location['approximate']) ? location['approximate'] : location) }
  return tool
}

function choose(tools: Fields[], choice: unknown, names: Sanitiser, refusals: Refusals): Toolbox {
  if (choice === undefined || choice === null) return { tools }
  if (typeof choice === 'string') return byWord(tools, choice, refusals)
  if (!isFields(choice)) throw refuse('tool_choice', 'must be a string or an object')
  if (isFields(choice['function']))
    return { tools, choice: { type: 'tool', name: names.clean(text(choice['function']['name'])) } }
  const allowed = choice['allowed_tools']
  if (isFields(allowed) && Array.isArray(allowed['tools'])) {
    const wanted = new Set(allowed['tools'].map((tool) => names.clean(toolName(tool))))
    const some = tools.filter((tool) => wanted.has(text(tool['name'])))
    return { tools: some, choice: { type: allowed['mode'] === 'required' ? 'any' : 'auto' } }
  }
  // Anthropic's own form.
  return { tools, choice: choice['type'] === 'tool' ? { ...choice, name: names.clean(text(choice['name'])) } : choice }
}

function byWord(tools: Fields[], choice: string, refusals: Refusals): Toolbox {
  switch (choice) {
    case 'auto':
    case 'none':
    case 'any':
      return { tools, choice: { type: choice } }
    case 'required':
      return { tools, choice: { type: 'any' } }
    default:
      refusals.refuse('tool_choice')
      return { tools }
  }
}

function refuse(path: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${path} ${problem}.`, { param: path })
}
