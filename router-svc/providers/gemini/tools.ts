import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest, Tool } from '../../canonical/chat.ts'
import { toolName } from '../anthropic/names.ts'
import type { Refusals } from '../refusals.ts'
import type { Traits } from './models.ts'
import { camelCase } from './parameters.ts'
import { jsonSchema, openapiSchema } from './schema.ts'
import { type Fields, isFields, text } from './wire.ts'

export interface Toolbox {
  tools: Fields[]
  config?: Fields
}

/** Gemini's own tools: a tool object that holds one of these is sent as it is, in the spelling of the wire. */
const NATIVE = new Set([
  'googleSearch',
  'googleSearchRetrieval',
  'enterpriseWebSearch',
  'urlContext',
  'codeExecution',
  'googleMaps',
  'fileSearch',
  'computerUse',
  'functionDeclarations',
  'retrieval',
])

/** Names by which other protocols call the same. */
const BY_TYPE: Readonly<Record<string, string>> = {
  web_search: 'googleSearch',
  web_search_preview: 'googleSearch',
  url_context: 'urlContext',
  code_execution: 'codeExecution',
  code_interpreter: 'codeExecution',
  googleSearch: 'googleSearch',
  urlContext: 'urlContext',
  codeExecution: 'codeExecution',
}

/** Tools and the choice among them. All functions stand in one entry. Throws `bad_request` naming the tool that cannot be carried. */
export function encodeTools(request: ChatRequest, traits: Traits, refusals: Refusals): Toolbox {
  const given = request.tools ?? []
  const functions: Fields[] = []
  const natives: Fields[] = []
  for (const [index, tool] of given.entries()) {
    if (isFields(tool) && isFields(tool.function)) functions.push(declaration(tool, `tools[${index}]`, traits))
    else natives.push(nativeTool(tool, `tools[${index}]`))
  }
  if (request['web_search_options'] !== undefined && !natives.some((tool) => tool['googleSearch'] !== undefined)) {
    natives.push({ googleSearch: {} })
  }
  // One call at a time cannot be asked for; with a single function it hardly matters.
  if (request.parallel_tool_calls === false && functions.length > 1) refusals.refuse('parallel_tool_calls')
  const tools = functions.length > 0 ? [{ functionDeclarations: functions }, ...natives] : natives
  if (functions.length === 0) return { tools }
  const config = choice(request.tool_choice, refusals)
  return config === undefined ? { tools } : { tools, config: { functionCallingConfig: config } }
}

function declaration(tool: Tool, path: string, traits: Traits): Fields {
  const { name, description, parameters } = tool.function as NonNullable<Tool['function']>
  if (text(name) === '') throw refuse(`${path}.function`, 'has no name')
  const encoded: Fields = { name }
  if (typeof description === 'string') encoded['description'] = description
  if (!isFields(parameters) || Object.keys(parameters).length === 0) return encoded
  if (traits.jsonSchema) encoded['parametersJsonSchema'] = jsonSchema(parameters)
  // The older form refuses objects without properties.
  else if (isFields(parameters['properties']) && Object.keys(parameters['properties']).length > 0) {
    encoded['parameters'] = openapiSchema(parameters)
  }
  return encoded
}

function nativeTool(tool: unknown, path: string): Fields {
  if (!isFields(tool)) throw refuse(path, 'must be an object')
  const found: Fields = {}
  for (const [name, value] of Object.entries(tool)) if (NATIVE.has(camelCase(name))) found[camelCase(name)] = value ?? {}
  if (Object.keys(found).length > 0) return found
  // Anthropic dates its names: `web_search_20250305`.
  const native = entryOf(BY_TYPE, text(tool['type']).replace(/_\d{8}$/, ''))
  if (native === undefined) throw refuse(path, `is of type ${text(tool['type'], 'unknown')}, which Gemini does not support`)
  return { [native]: {} }
}

const MODES: Readonly<Record<string, string>> = {
  auto: 'AUTO',
  none: 'NONE',
  required: 'ANY',
  any: 'ANY',
  validated: 'VALIDATED',
}

function choice(given: unknown, refusals: Refusals): Fields | undefined {
  if (given === undefined || given === null) return undefined
  if (typeof given === 'string') {
    const mode = entryOf(MODES, given.toLowerCase())
    if (mode === undefined) refusals.refuse('tool_choice')
    return mode === undefined ? undefined : { mode }
  }
  if (!isFields(given)) throw refuse('tool_choice', 'must be a string or an object')
  const allowed = given['allowed_tools']
  if (isFields(allowed) && Array.isArray(allowed['tools'])) {
    // Only ANY and VALIDATED take a list; VALIDATED leaves the model free to answer in words.
    return {
      mode: allowed['mode'] === 'required' ? 'ANY' : 'VALIDATED',
      allowedFunctionNames: allowed['tools'].map(toolName).filter((name) => name !== ''),
    }
  }
  const name = toolName(given)
  if (name === '') throw refuse('tool_choice', 'names no function')
  return { mode: 'ANY', allowedFunctionNames: [name] }
}

function refuse(path: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${path} ${problem}.`, { param: path })
}
