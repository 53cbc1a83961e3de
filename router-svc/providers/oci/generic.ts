import { GatewayError } from '../../../shared/errors.ts'
import type { ContentPart, Message, Tool, ToolCall } from '../../canonical/chat.ts'
import { type Fields, isFields, text } from '../json.ts'

/** A chat in the form of all vendors but Cohere, and in Cohere's second, which is nearly the same. Bodies are OpenAI's, checked by the row. */

const SYSTEM_ROLES = new Set(['system', 'developer'])

/** Parameters by their names there. */
const NAMES: Readonly<Record<string, string>> = {
  temperature: 'temperature',
  top_p: 'topP',
  top_k: 'topK',
  frequency_penalty: 'frequencyPenalty',
  presence_penalty: 'presencePenalty',
  seed: 'seed',
  n: 'numGenerations',
  logit_bias: 'logitBias',
  parallel_tool_calls: 'isParallelToolCalls',
}

const PLACED = new Set([
  ...Object.keys(NAMES),
  'model',
  'messages',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'stop',
  'tools',
  'tool_choice',
  'response_format',
  'reasoning_effort',
  'verbosity',
])

/** Members of an OpenAI body that have no place there go as they are: the provider's own (`safetyMode`, `topK`). */
export function ownMembers(body: Fields, placed: ReadonlySet<string>): Fields {
  return Object.fromEntries(
    Object.entries(body).filter(([name, value]) => !placed.has(name) && value !== null && value !== undefined),
  )
}

/** `limit`: tokens of the answer, where the request does not say; the service's own default is a few hundred. */
export function genericRequest(body: Fields, model: string, limit: number): Fields {
  const chat: Fields = {
    apiFormat: 'GENERIC',
    messages: (body['messages'] as Message[]).map((message, at) => messageOf(message, at, model)),
  }
  renamed(chat, body)
  // OpenAI's own models count their thinking, and say so by the name.
  const name = model.startsWith('openai.') ? 'maxCompletionTokens' : 'maxTokens'
  chat[name] = body['max_completion_tokens'] ?? body['max_tokens'] ?? limit
  put(chat, 'stop', listOf(body['stop']))
  put(chat, 'reasoningEffort', upper(body['reasoning_effort']))
  put(chat, 'verbosity', upper(body['verbosity']))
  const format = body['response_format']
  if (isFields(format)) chat['responseFormat'] = formatOf(format)
  const tools = toolsOf(body)
  if (tools.length > 0) {
    chat['tools'] = tools.map(({ function: named }) => ({
      type: 'FUNCTION',
      name: named?.name,
      description: named?.description,
      parameters: named?.parameters ?? { type: 'object', properties: {} },
    }))
    put(chat, 'toolChoice', choiceOf(body['tool_choice']))
  }
  return { ...chat, ...ownMembers(body, PLACED) }
}

/** Cohere's second form: tools and calls nested as OpenAI's are, other names for choices, thinking by a budget. */
export function secondCohereRequest(body: Fields, limit: number): Fields {
  const messages = (body['messages'] as Message[]).map((message, at) => {
    const { toolCalls, ...own } = messageOf(message, at, '')
    return {
      ...own,
      content: contentOfSecond(own['content']),
      ...(toolCalls === undefined ? {} : { toolCalls: nested(message) }),
    }
  })
  const chat: Fields = {
    apiFormat: 'COHEREV2',
    messages,
    maxTokens: body['max_completion_tokens'] ?? body['max_tokens'] ?? limit,
  }
  renamed(chat, body)
  put(chat, 'stopSequences', listOf(body['stop']))
  const format = body['response_format']
  if (isFields(format)) chat['responseFormat'] = cohereFormat(format)
  const effort = body['reasoning_effort']
  if (typeof effort === 'string') chat['thinking'] = { type: effort === 'none' || effort === 'disable' ? 'DISABLED' : 'ENABLED' }
  const tools = toolsOf(body)
  if (tools.length > 0) {
    chat['tools'] = tools.map(({ function: named }) => ({ type: 'FUNCTION', function: named }))
    const choice = body['tool_choice']
    if (choice === 'required' || isFields(choice)) chat['toolsChoice'] = 'REQUIRED'
    else if (choice === 'none') chat['toolsChoice'] = 'NONE'
  }
  return { ...chat, ...ownMembers(body, PLACED) }
}

/** A schema stands beside the type in both of Cohere's forms. */
export function cohereFormat(format: Fields): Fields {
  if (format['type'] === 'text') return { type: 'TEXT' }
  const schema = isFields(format['json_schema']) ? format['json_schema']['schema'] : undefined
  return { type: 'JSON_OBJECT', ...(schema === undefined ? {} : { schema }) }
}

export function listOf(stop: unknown): unknown[] | undefined {
  if (stop === undefined || stop === null) return undefined
  return Array.isArray(stop) ? stop : [stop]
}

/** Tools that may be called. One that is named by the choice goes with all others: the choice is what says so. */
export function toolsOf(body: Fields): Tool[] {
  return Array.isArray(body['tools']) ? (body['tools'] as Tool[]) : []
}

export function put(chat: Fields, name: string, value: unknown): void {
  if (value !== undefined && value !== null) chat[name] = value
}

function renamed(chat: Fields, body: Fields): void {
  for (const [from, to] of Object.entries(NAMES)) put(chat, to, body[from])
  if (body['stream'] === true) Object.assign(chat, { isStream: true, streamOptions: { isIncludeUsage: true } })
}

function upper(value: unknown): string | undefined {
  return typeof value === 'string' ? value.toUpperCase() : undefined
}

function formatOf(format: Fields): Fields {
  if (format['type'] !== 'json_schema') return { type: text(format['type']).toUpperCase() }
  const given = isFields(format['json_schema']) ? format['json_schema'] : {}
  const { name, description, schema, strict } = given
  const jsonSchema: Fields = { name: text(name, 'answer'), schema }
  put(jsonSchema, 'description', description)
  put(jsonSchema, 'isStrict', strict)
  return { type: 'JSON_SCHEMA', jsonSchema }
}

function choiceOf(choice: unknown): Fields | undefined {
  if (typeof choice === 'string') return { type: choice.toUpperCase() }
  const named = isFields(choice) && isFields(choice['function']) ? text(choice['function']['name']) : ''
  return named === '' ? undefined : { type: 'FUNCTION', name: named }
}

function messageOf(message: Message, at: number, model: string): Fields {
  const { role, content, tool_calls: calls, tool_call_id: id, name } = message
  const parts = partsOf(content, `messages[${at}].content`)
  const own: Fields = { role: roleOf(role, at, model) }
  if (parts.length > 0 || calls === undefined) own['content'] = parts
  if (calls !== undefined && calls.length > 0) own['toolCalls'] = calls.map(callOf)
  put(own, 'toolCallId', id)
  if (role === 'user') put(own, 'name', name)
  return own
}

/** Developers' messages are known to OpenAI's models alone. */
function roleOf(role: string, at: number, model: string): string {
  if (role === 'developer') return model.startsWith('openai.') ? 'DEVELOPER' : 'SYSTEM'
  if (SYSTEM_ROLES.has(role) || role === 'user' || role === 'assistant' || role === 'tool') return role.toUpperCase()
  throw refused(`messages[${at}].role`, `is ${role}, which has no counterpart`)
}

function callOf({ id, function: named }: ToolCall): Fields {
  return { id, type: 'FUNCTION', name: named?.name ?? '', arguments: named?.arguments || '{}' }
}

function nested({ tool_calls: calls }: Message): Fields[] {
  return (calls ?? []).map(({ id, function: named }) => ({
    id,
    type: 'FUNCTION',
    function: { name: named?.name, arguments: named?.arguments || '{}' },
  }))
}

/** Images have another type there. */
function contentOfSecond(content: unknown): unknown {
  if (!Array.isArray(content)) return content
  return (content as Fields[]).map((part) => (part['type'] === 'IMAGE' ? { ...part, type: 'IMAGE_URL' } : part))
}

function partsOf(content: Message['content'], place: string): Fields[] {
  if (content === null || content === undefined) return []
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'TEXT', text: content }]
  return content.map((part, at) => partOf(part, `${place}[${at}]`))
}

function partOf(part: ContentPart, place: string): Fields {
  switch (part.type) {
    case 'text':
      return { type: 'TEXT', text: text(part['text']) }
    case 'refusal':
      return { type: 'TEXT', text: text(part['refusal']) }
    case 'image_url': {
      const image = part['image_url']
      const { url, detail }: Fields = isFields(image) ? image : { url: image }
      if (typeof url !== 'string') throw refused(`${place}.image_url.url`, 'must be a string')
      return { type: 'IMAGE', imageUrl: typeof detail === 'string' ? { url, detail: detail.toUpperCase() } : { url } }
    }
    case 'input_audio': {
      const { data, format }: Fields = isFields(part['input_audio']) ? part['input_audio'] : {}
      return { type: 'AUDIO', audioUrl: { url: `data:audio/${text(format, 'wav')};base64,${text(data)}` } }
    }
    case 'file': {
      const { file_data: data }: Fields = isFields(part['file']) ? part['file'] : {}
      if (typeof data !== 'string') throw refused(`${place}.file.file_data`, 'is missing: files are taken as data only')
      return { type: 'DOCUMENT', documentUrl: { url: data } }
    }
    default:
      throw refused(place, `is of type ${part.type}, which has no counterpart`)
  }
}

export function refused(param: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${param} ${problem} in Oracle's Generative AI.`, { param })
}
