import type { ChatRequest, ContentPart, Message, Tool } from '../../canonical/chat.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import type { Target } from '../provider.ts'
import { encodeBody } from './request.ts'
import { type Content, type Fields, type GenerateRequest, isFields, objects, type Part, text } from './wire.ts'

export function target(changes: Partial<Target> = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: 'gemini',
    model: 'gemini-2.5-flash',
    base: 'https://generativelanguage.googleapis.com/v1beta',
    ...changes,
  }
}

/** The body sent for a request; `messages` may be left out where they do not matter. */
export function encode(request: Partial<ChatRequest>, changes: Partial<Target> = {}): GenerateRequest {
  return encodeBody({ model: 'group', messages: [{ role: 'user', content: 'Hi' }], ...request }, target(changes))
}

const WORDS: Readonly<Record<string, string>> = { AUTO: 'auto', ANY: 'required', NONE: 'none' }

/** What an OpenAI client would have sent for a request recorded against Gemini's own protocol. */
export function canonicalOf(body: GenerateRequest): ChatRequest {
  const { systemInstruction, contents, tools, toolConfig, generationConfig, ...rest } = body
  const request: ChatRequest = { model: 'group', messages: [] }
  if (systemInstruction !== undefined) request.messages.push({ role: 'system', content: partsOf(systemInstruction.parts) })
  for (const [index, content] of contents.entries()) request.messages.push(...messagesOf(content, index, contents))
  const functions = (tools ?? []).flatMap((tool) => objects(tool['functionDeclarations']))
  const natives = (tools ?? []).filter((tool) => tool['functionDeclarations'] === undefined)
  if (functions.length + natives.length > 0) request.tools = [...functions.map(toolOf), ...(natives as Fields[] as Tool[])]
  const config = toolConfig?.['functionCallingConfig']
  if (isFields(config)) {
    const names = Array.isArray(config['allowedFunctionNames']) ? (config['allowedFunctionNames'] as string[]) : []
    const [name] = names
    const allowed = names.map((name) => ({ type: 'function', function: { name } }))
    if (names.length > 1) {
      request.tool_choice = { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: allowed } }
    } else
      request.tool_choice =
        name === undefined ? ((WORDS[text(config['mode'])] ?? 'validated') as 'auto') : { type: 'function', function: { name } }
  }
  const { functionCallingConfig: _choice, ...own } = toolConfig ?? {}
  const streams = isFields(config) && config['streamFunctionCallArguments'] !== undefined
  if (streams || Object.keys(own).length > 0) request['tool_config'] = streams ? toolConfig : own
  Object.assign(request, generation(generationConfig ?? {}), rest)
  return request
}

function generation(config: Fields): Fields {
  const names: Readonly<Record<string, string>> = {
    temperature: 'temperature',
    topP: 'top_p',
    topK: 'top_k',
    maxOutputTokens: 'max_tokens',
    stopSequences: 'stop',
    seed: 'seed',
    presencePenalty: 'presence_penalty',
    frequencyPenalty: 'frequency_penalty',
    responseLogprobs: 'logprobs',
    logprobs: 'top_logprobs',
  }
  const { responseMimeType: type, responseJsonSchema: schema, ...others } = config
  if (type === 'text/plain') others['responseMimeType'] = type
  const fields: Fields = {}
  if (type === 'application/json') {
    fields['response_format'] = schema === undefined ? { type: 'json_object' } : { type: 'json_schema', json_schema: { schema } }
  }
  const own: Fields = {}
  for (const [name, value] of Object.entries(others)) {
    if (names[name] === undefined) own[name] = value
    else fields[names[name]] = value
  }
  return Object.keys(own).length > 0 ? { ...fields, generationConfig: own } : fields
}

function toolOf({ name, description, parametersJsonSchema, parameters }: Fields): Tool {
  const definition = { name: String(name) } as NonNullable<Tool['function']>
  if (typeof description === 'string') definition.description = description
  const schema = parametersJsonSchema ?? parameters
  if (isFields(schema)) definition.parameters = schema
  return { type: 'function', function: definition }
}

/** Calls without an id get one from their place, as clients do; the results behind them get the same. */
function messagesOf({ role, parts }: Content, index: number, contents: readonly Content[]): Message[] {
  const calls = parts.filter((part) => isFields(part['functionCall']))
  const results = parts.filter((part) => isFields(part['functionResponse']))
  const others = parts.filter((part) => !calls.includes(part) && !results.includes(part))
  if (role === 'model') {
    const words = others.filter((part) => part['thought'] !== true)
    const message: Message = { role: 'assistant', content: partsOf(words) }
    if (calls.length > 0) message.tool_calls = calls.map((part, position) => callOf(part, index, position))
    const signatures = words.flatMap((part) => (typeof part['thoughtSignature'] === 'string' ? [part['thoughtSignature']] : []))
    const kept = others.filter(
      (part) => part['thought'] === true || (part['text'] ?? part['inlineData'] ?? part['fileData']) === undefined,
    )
    message['provider_specific_fields'] = { thought_signatures: signatures, parts: kept }
    return [message]
  }
  const before = (contents[index - 1]?.parts ?? []).filter((part) => isFields(part['functionCall']))
  const messages: Message[] = results.map((part, position) => {
    const { id, response } = part['functionResponse'] as Fields
    const own = (before[position]?.['functionCall'] as Fields | undefined)?.['id'] ?? id
    return { role: 'tool', tool_call_id: text(own) || `call_${index - 1}_${position}`, content: JSON.stringify(response) }
  })
  if (others.length > 0) messages.push({ role: 'user', content: partsOf(others) })
  return messages
}

function callOf(part: Part, index: number, position: number): NonNullable<Message['tool_calls']>[number] {
  const { id, name, args } = part['functionCall'] as Fields
  return {
    id: text(id) || `call_${index}_${position}`,
    type: 'function',
    function: { name: String(name), arguments: JSON.stringify(args ?? {}) },
    ...(part['thoughtSignature'] === undefined
      ? {}
      : { provider_specific_fields: { thought_signature: part['thoughtSignature'] } }),
  }
}

function partsOf(parts: readonly Part[]): ContentPart[] {
  return parts.flatMap((part): ContentPart[] => {
    if (typeof part['text'] === 'string') return [{ type: 'text', text: part['text'] }]
    const { inlineData: data, fileData: file } = part
    if (isFields(data))
      return [{ type: 'file', file: { file_data: `data:${text(data['mimeType'])};base64,${text(data['data'])}` } }]
    if (isFields(file)) return [{ type: 'file', file: { file_id: text(file['fileUri']), format: text(file['mimeType']) } }]
    return []
  })
}

/** The same request in one spelling: what the service takes either way is written one way. */
export function spelled(body: Fields): GenerateRequest {
  const camel = camelKeys(body) as unknown as GenerateRequest
  const contents: Content[] = []
  for (const { role, parts } of camel.contents) {
    const last = contents.at(-1)
    const as = role === 'model' ? 'model' : 'user'
    if (last?.role === as) last.parts.push(...parts)
    else contents.push({ role: as, parts: [...parts] })
  }
  for (const content of contents) {
    // Unsigned thoughts tell the model nothing, and are not sent back.
    content.parts = content.parts.filter((part) => part['thought'] !== true || part['thoughtSignature'] !== undefined)
    for (const part of content.parts) dropMadeIds(part)
  }
  const { systemInstruction: system, tools, generationConfig: config, ...rest } = camel
  const spelling: GenerateRequest = { ...rest, contents }
  if (system !== undefined && system.parts.length > 0) spelling.systemInstruction = { parts: system.parts }
  if (tools !== undefined && tools.length > 0) spelling.tools = toolsOf(tools)
  if (config !== undefined && Object.keys(config).length > 0) spelling.generationConfig = config
  return spelling
}

/** Ids this testkit made of places, empty ones of the recorder's, and those of results, which many clients leave out. */
function dropMadeIds(part: Part): void {
  for (const name of ['functionCall', 'functionResponse']) {
    const { id, ...call } = isFields(part[name]) ? part[name] : { id: 'none' }
    if (isFields(part[name]) && (name === 'functionResponse' || id === null || id === '' || /^call_\d+_\d+$/.test(text(id))))
      part[name] = call
  }
}

/** All functions in one entry and first; a schema under either of its names. */
function toolsOf(tools: readonly Fields[]): Fields[] {
  const functions = tools
    .flatMap((tool) => objects(tool['functionDeclarations']))
    .map(({ parameters, ...declaration }) => {
      const schema = declaration['parametersJsonSchema'] ?? parameters
      return isFields(schema) && Object.keys(schema).length > 0 ? { ...declaration, parametersJsonSchema: schema } : declaration
    })
  const natives = tools.filter((tool) => tool['functionDeclarations'] === undefined)
  return functions.length > 0 ? [{ functionDeclarations: functions }, ...natives] : natives
}

/** Members of JSON that are data, not fields of the protocol. */
const DATA = new Set(['args', 'response', 'parameters', 'parametersJsonSchema', 'responseSchema', 'responseJsonSchema'])

function camelKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelKeys)
  if (!isFields(value)) return value
  const camel: Fields = {}
  for (const [name, inner] of Object.entries(value)) {
    const spelled = name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    camel[spelled] = DATA.has(spelled) ? inner : camelKeys(inner)
  }
  return camel
}
