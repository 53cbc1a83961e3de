import type { ChatRequest, Tool } from '../../canonical/chat.ts'
import { Sanitiser, toolName } from '../anthropic/names.ts'
import { inputSchema, strictSchema } from '../anthropic/schema.ts'
import type { Refusals } from '../refusals.ts'
import { cachePoint, refuse } from './content.ts'
import type { Traits } from './models.ts'
import { type Fields, isFields, JSON_TOOL, text } from './wire.ts'

/** What the API takes as the name of a tool: 64 letters, digits, `_`, `-`. */
const NAME_LIMIT = 64
const NAME = /^[a-zA-Z0-9_-]{1,64}$/

/** Tools, and the choice among them; both as they stand in `toolConfig`. */
export interface Toolbox {
  tools: Fields[]
  choice?: Fields
  /** `tool_choice` of the Messages API, where Converse cannot say it. */
  native?: Fields
}

export interface JsonFormat {
  name: string
  description: string
  /** Null for `json_object`: any object. */
  schema: Fields | null
}

/** The names of the tools of a canonical request; request and answer derive the same ones. */
export function toolNames(request: Readonly<Record<string, unknown>>): Sanitiser {
  const names = new Sanitiser(NAME_LIMIT)
  const tools = request['tools']
  if (!Array.isArray(tools)) return names
  const given = tools.map(toolName).filter((name) => name !== '')
  // Names that are fine keep their form whatever comes before them.
  for (const name of given) if (NAME.test(name)) names.clean(name)
  for (const name of given) names.clean(name)
  return names
}

/** `called`: tools that the conversation calls, whose definitions the API demands even if no tool may be called any more. */
export function encodeTools(
  request: ChatRequest,
  names: Sanitiser,
  called: ReadonlySet<string>,
  traits: Traits,
  refusals: Refusals,
): Toolbox {
  const tools: Fields[] = []
  const given = request.tools ?? []
  const none = request.tool_choice === 'none' && called.size === 0
  if (!none) for (const [index, tool] of given.entries()) tools.push(...encodeTool(tool, `tools[${index}]`, names, traits))
  if (tools.length === 0) {
    for (const name of called) tools.push({ toolSpec: { name, inputSchema: { json: { type: 'object', properties: {} } } } })
    return { tools }
  }
  const choice = choiceOf(request.tool_choice, names, traits, refusals)
  const toolbox: Toolbox = choice === undefined ? { tools } : { tools, choice }
  if (request.parallel_tool_calls !== false) return toolbox
  if (traits.claude === null) {
    refusals.refuse('parallel_tool_calls')
    return toolbox
  }
  return { tools, native: { ...nativeChoice(choice), disable_parallel_tool_use: true } }
}

/** Structured output on models without it: a tool whose input is the answer. Its calls become content again (answer.ts). */
export function withJsonTool(toolbox: Toolbox, format: JsonFormat, traits: Traits, thinks: boolean): Toolbox {
  if (toolbox.native !== undefined || (toolbox.choice !== undefined && !('auto' in toolbox.choice))) return toolbox
  const description = format.description || 'Gives the answer. Call it exactly once, with the complete answer as its input.'
  const tool = { toolSpec: { name: JSON_TOOL, description, inputSchema: { json: inputSchema(format.schema) } } }
  const tools = [...toolbox.tools, tool]
  // With thinking, and on models that only choose themselves, it can be offered and no more.
  if (thinks || !traits.forcedTools) return { tools }
  return { tools, choice: toolbox.tools.length === 0 ? { tool: { name: JSON_TOOL } } : { any: {} } }
}

/** The structured output asked for, or null. Throws `bad_request` for a schema that is not one of an object. */
export function jsonFormat(request: ChatRequest, refusals: Refusals): JsonFormat | null {
  const format = request.response_format
  if (!isFields(format) || format.type === 'text') return null
  if (format.type === 'json_object') return { name: '', description: '', schema: null }
  if (format.type !== 'json_schema') {
    refusals.refuse('response_format')
    return null
  }
  const { schema, name, description } = format.json_schema ?? {}
  if (schema !== undefined && (!isFields(schema) || (schema['type'] !== undefined && schema['type'] !== 'object')))
    throw refuse('response_format.json_schema.schema', 'must describe an object')
  return { name: text(name), description: text(description), schema: schema ?? null }
}

/** The format as `outputConfig.textFormat`. */
export function textFormat(format: JsonFormat, schema: Fields, traits: Traits): Fields {
  const complete = { type: 'object', ...schema }
  const jsonSchema: Fields = { schema: JSON.stringify(traits.claude === null ? complete : strictSchema(complete)) }
  if (format.name !== '') jsonSchema['name'] = format.name
  if (format.description !== '') jsonSchema['description'] = format.description
  return { type: 'json_schema', structure: { jsonSchema } }
}

function encodeTool(tool: Tool, path: string, names: Sanitiser, traits: Traits): Fields[] {
  if (!isFields(tool)) throw refuse(path, 'must be an object')
  const definition = tool.function
  // A tool of the API's own, as `systemTool`.
  if (!isFields(definition)) {
    if (tool.type === undefined || isFields(tool['systemTool'])) return [tool]
    throw refuse(path, `is of type ${text(tool.type)}, which Bedrock does not support`)
  }
  const name = text(definition.name)
  if (name === '') throw refuse(`${path}.function`, 'has no name')
  const spec: Fields = { name: names.clean(name) }
  // Blank ones are refused.
  if (typeof definition.description === 'string' && definition.description.trim() !== '')
    spec['description'] = definition.description
  const schema = inputSchema(definition.parameters)
  const strict = definition.strict === true && traits.claude?.structured === true
  spec['inputSchema'] = { json: strict ? strictSchema(schema) : schema }
  if (strict) spec['strict'] = true
  const inner: Fields = definition
  return [{ toolSpec: spec }, ...cachePoint(tool.cache_control ?? inner['cache_control'], traits.cache === 'tools')]
}

function choiceOf(choice: unknown, names: Sanitiser, traits: Traits, refusals: Refusals): Fields | undefined {
  if (choice === undefined || choice === null || choice === 'none') return undefined
  if (choice === 'auto') return { auto: {} }
  // A choice the model cannot be given: sent all the same where the operator said so.
  if (!traits.forcedTools && !refusals.refuse('tool_choice')) return undefined
  if (choice === 'required' || choice === 'any') return { any: {} }
  if (!isFields(choice)) throw refuse('tool_choice', 'must be none, auto, required or an object')
  const name = isFields(choice['function']) ? text(choice['function']['name']) : text(choice['name'])
  if (name === '') throw refuse('tool_choice', 'names no function')
  return { tool: { name: names.clean(name) } }
}

function nativeChoice(choice: Fields | undefined): Fields {
  if (choice !== undefined && isFields(choice['tool'])) return { type: 'tool', name: choice['tool']['name'] }
  return { type: choice !== undefined && 'any' in choice ? 'any' : 'auto' }
}
