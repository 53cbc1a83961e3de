import { isObject } from '../../../shared/json-object.ts'
import type { ChatRequest, Tool, ToolChoice } from '../../canonical/chat.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import { camelCase } from '../../providers/gemini/parameters.ts'
import { checkBody } from './check.ts'
import { messagesOf } from './contents.ts'
import { jsonSchemaOf } from './schema.ts'
import { type Fields, fieldsOf, listOf, textOf } from './wire.ts'

/** Fields of `generationConfig` that have a canonical place of the same meaning. */
const SAME: Readonly<Record<string, string>> = {
  temperature: 'temperature',
  topP: 'top_p',
  maxOutputTokens: 'max_tokens',
  candidateCount: 'n',
  stopSequences: 'stop',
  seed: 'seed',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  responseLogprobs: 'logprobs',
  logprobs: 'top_logprobs',
}

/** Tokens of thinking from which an effort is that high: LiteLLM's for Gemini. */
const EFFORTS: readonly (readonly [number, string])[] = [
  [4096, 'high'],
  [2048, 'medium'],
  [1, 'low'],
]

/**
 * The canonical request. What has no canonical place, and what must reach a provider of this protocol to the letter, is in `gemini`; canonical
 * fields beside it say the same to others. Throws GatewayError `bad_request` naming the place that is wrong.
 */
export function decodeRequest(given: Record<string, unknown>): ChatRequest {
  const beside: Fields = {}
  const body: Fields = {}
  for (const name in given) {
    if (given[name] === null || given[name] === undefined || name === 'gemini') continue
    if (isGatewayField(name, given[name])) beside[name] = given[name]
    else body[camelCase(name)] = given[name]
  }
  checkBody(body)
  const {
    model,
    stream,
    contents: _contents,
    systemInstruction: _system,
    generationConfig,
    serviceTier: tier,
    user,
    ...native
  } = body
  const request: ChatRequest = { model: model as string, messages: messagesOf(body), ...beside }
  if (stream === true) request.stream = true
  if (typeof user === 'string') request.user = user
  const own = generation(fieldsOf(generationConfig), request)
  if (Object.keys(own).length > 0) native['generationConfig'] = own
  const named = textOf(tier).toLowerCase()
  if (named !== '' && named !== 'unspecified') request.service_tier = named === 'standard' ? 'default' : named
  tools(native, request)
  request['gemini'] = native
  return request
}

/** Puts what has one in its canonical place; returns the rest. */
function generation(config: Fields, request: ChatRequest): Fields {
  const own: Fields = {}
  for (const name in config) {
    const same = SAME[name]
    if (same === undefined) own[name] = config[name]
    else request[same] = config[name]
  }
  const { responseMimeType: type, responseJsonSchema: schema, responseSchema: openapi } = config
  if (type === 'application/json') {
    const asked = isObject(schema) ? { ...schema } : openapi === undefined ? null : jsonSchemaOf(openapi)
    request.response_format =
      asked === null ? { type: 'json_object' } : { type: 'json_schema', json_schema: { name: 'answer', schema: asked } }
  }
  const effort = effortOf(fieldsOf(config['thinkingConfig']))
  if (effort !== null) request.reasoning_effort = effort
  const modalities = config['responseModalities']
  if (Array.isArray(modalities) && modalities.some((kind) => String(kind).toUpperCase() !== 'TEXT'))
    request['modalities'] = modalities.map((kind) => String(kind).toLowerCase())
  return own
}

function effortOf({ thinkingLevel: level, thinkingBudget: budget }: Fields): string | null {
  const named = textOf(level).toLowerCase()
  if (named !== '' && named !== 'thinking_level_unspecified') return named
  if (typeof budget !== 'number') return null
  return EFFORTS.find(([least]) => budget >= least)?.[1] ?? null
}

function tools(native: Readonly<Fields>, request: ChatRequest): void {
  const given = listOf(native['tools'])
  const functions = given.flatMap((tool) => listOf(tool['functionDeclarations'])).map(toolOf)
  if (functions.length > 0) request.tools = functions
  if (given.some((tool) => (tool['googleSearch'] ?? tool['googleSearchRetrieval']) !== undefined))
    request['web_search_options'] = {}
  const choice = choiceOf(fieldsOf(fieldsOf(native['toolConfig'])['functionCallingConfig']))
  if (choice !== null && functions.length > 0) request.tool_choice = choice
}

function toolOf({ name, description, parameters, parametersJsonSchema: schema }: Fields): Tool {
  const definition: NonNullable<Tool['function']> = { name: name as string }
  if (typeof description === 'string') definition.description = description
  if (isObject(schema)) definition.parameters = { ...schema }
  else if (isObject(parameters)) definition.parameters = jsonSchemaOf(parameters)
  return { type: 'function', function: definition }
}

function choiceOf({ mode, allowedFunctionNames: allowed }: Fields): ToolChoice | null {
  const names = Array.isArray(allowed) ? allowed.filter((name): name is string => typeof name === 'string') : []
  const [name] = names
  switch (textOf(mode).toUpperCase()) {
    case 'AUTO':
    case 'VALIDATED':
      return 'auto'
    case 'NONE':
      return 'none'
    case 'ANY':
      if (name === undefined) return 'required'
      if (names.length === 1) return { type: 'function', function: { name } }
      return {
        type: 'allowed_tools',
        allowed_tools: { mode: 'required', tools: names.map((one) => ({ type: 'function', function: { name: one } })) },
      }
    default:
      return null
  }
}
