import { isObject } from '../../../shared/json-object.ts'
import { checkFields, checkModel, invalid, type Kind } from '../request-fields.ts'

/** Only what some part here or every provider relies on; ranges, and blocks and tools of kinds not known here, are the provider's to judge. */
const FIELDS: readonly (readonly [string, Kind])[] = [
  ['stream', 'boolean'],
  ['temperature', 'number'],
  ['top_p', 'number'],
  ['top_k', 'integer'],
  ['stop_sequences', 'list of strings'],
  ['tools', 'list'],
  ['tool_choice', 'object'],
  ['thinking', 'object'],
  ['output_config', 'object'],
  ['metadata', 'object'],
  ['service_tier', 'string'],
  ['mcp_servers', 'list'],
]

const ROLES: ReadonlySet<unknown> = new Set(['user', 'assistant', 'system'])

/** Throws GatewayError `bad_request` naming the first place that is wrong: `messages[2].content[0].source.data`. */
export function checkBody(body: Readonly<Record<string, unknown>>, limited = true): void {
  checkModel(body)
  const { max_tokens: limit, messages, system, tools, tool_choice: choice } = body
  const absent = !limited && (limit === undefined || limit === null)
  if (!absent && (!Number.isInteger(limit) || (limit as number) <= 0)) throw invalid('max_tokens', 'positive integer', limit)
  if (!Array.isArray(messages) || messages.length === 0) throw invalid('messages', 'non-empty list', messages)
  for (let index = 0; index < messages.length; index++) checkTurn(messages[index], `messages[${index}]`)
  checkFields(body, FIELDS)
  if (system !== undefined && system !== null) checkContent(system, 'system')
  if (Array.isArray(tools)) for (let index = 0; index < tools.length; index++) checkTool(tools[index], `tools[${index}]`)
  if (isObject(choice)) {
    if (typeof choice['type'] !== 'string') throw invalid('tool_choice.type', 'string', choice['type'])
    if (choice['type'] === 'tool') text(choice['name'], 'tool_choice.name')
  }
}

function checkTurn(turn: unknown, place: string): void {
  if (!isObject(turn)) throw invalid(place, 'object', turn)
  if (!ROLES.has(turn['role'])) throw invalid(`${place}.role`, 'role (user or assistant)', turn['role'])
  checkContent(turn['content'], `${place}.content`)
}

function checkContent(content: unknown, place: string): void {
  if (typeof content === 'string') return
  if (!Array.isArray(content)) throw invalid(place, 'string or list of content blocks', content)
  for (let index = 0; index < content.length; index++) checkBlock(content[index], `${place}[${index}]`)
}

function checkBlock(block: unknown, place: string): void {
  if (!isObject(block)) throw invalid(place, 'object', block)
  const { type } = block
  if (typeof type !== 'string' || type === '') throw invalid(`${place}.type`, 'non-empty string', type)
  switch (type) {
    case 'text':
      string(block['text'], `${place}.text`)
      return
    case 'image':
    case 'document':
      checkSource(block['source'], `${place}.source`)
      return
    case 'tool_use':
      text(block['id'], `${place}.id`)
      text(block['name'], `${place}.name`)
      if (!isObject(block['input'])) throw invalid(`${place}.input`, 'object', block['input'])
      return
    case 'tool_result':
      text(block['tool_use_id'], `${place}.tool_use_id`)
      if (block['content'] !== undefined && block['content'] !== null) checkContent(block['content'], `${place}.content`)
      return
    case 'thinking':
      string(block['thinking'], `${place}.thinking`)
      return
    case 'redacted_thinking':
      string(block['data'], `${place}.data`)
      return
  }
}

function checkSource(source: unknown, place: string): void {
  if (!isObject(source)) throw invalid(place, 'object', source)
  switch (source['type']) {
    case 'base64':
    case 'text':
      text(source['media_type'], `${place}.media_type`)
      string(source['data'], `${place}.data`)
      return
    case 'url':
      text(source['url'], `${place}.url`)
      return
    case 'file':
      text(source['file_id'], `${place}.file_id`)
      return
    default:
      string(source['type'], `${place}.type`)
  }
}

function checkTool(tool: unknown, place: string): void {
  if (!isObject(tool)) throw invalid(place, 'object', tool)
  const { type, input_schema: schema } = tool
  if (type !== undefined && type !== null) string(type, `${place}.type`)
  // A tool of Anthropic's own is known by its type; anything else is the client's, and needs a schema.
  if (type !== undefined && type !== null && type !== 'custom') return
  text(tool['name'], `${place}.name`)
  if (!isObject(schema)) throw invalid(`${place}.input_schema`, 'object', schema)
}

function string(value: unknown, place: string): void {
  if (typeof value !== 'string') throw invalid(place, 'string', value)
}

function text(value: unknown, place: string): void {
  if (typeof value !== 'string' || value === '') throw invalid(place, 'non-empty string', value)
}
