import { isObject } from '../../../shared/json-object.ts'
import { checkFields, checkModel, invalid, type Kind } from '../request-fields.ts'

/** Only what some part here or every provider relies on; ranges, and items and tools of kinds not known here, are the provider's to judge. */
const FIELDS: readonly (readonly [string, Kind])[] = [
  ['stream', 'boolean'],
  ['background', 'boolean'],
  ['store', 'boolean'],
  ['previous_response_id', 'string'],
  ['max_output_tokens', 'positive integer'],
  ['max_tool_calls', 'positive integer'],
  ['temperature', 'number'],
  ['top_p', 'number'],
  ['top_logprobs', 'integer'],
  ['parallel_tool_calls', 'boolean'],
  ['tools', 'list'],
  ['tool_choice', 'string or object'],
  ['text', 'object'],
  ['reasoning', 'object'],
  ['include', 'list of strings'],
  ['metadata', 'object'],
  ['conversation', 'string or object'],
  ['prompt', 'object'],
  ['truncation', 'string'],
  ['user', 'string'],
  ['service_tier', 'string'],
]

/** Throws GatewayError `bad_request` naming the first place that is wrong: `input[0].content[1].text`. */
export function checkBody(body: Readonly<Record<string, unknown>>): void {
  checkModel(body)
  checkFields(body, FIELDS)
  const { input, instructions, tools, text } = body
  // A stored prompt, response or conversation may say all there is to say.
  const begun = body['prompt'] != null || body['previous_response_id'] != null || body['conversation'] != null
  if (input === undefined || input === null) {
    if (!begun) throw invalid('input', 'string or list of items', input)
  } else checkItems(input, 'input')
  if (instructions !== undefined && instructions !== null) checkItems(instructions, 'instructions')
  if (Array.isArray(tools)) for (let index = 0; index < tools.length; index++) checkTool(tools[index], `tools[${index}]`)
  const format = isObject(text) ? text['format'] : undefined
  if (format === undefined || format === null) return
  if (!isObject(format)) throw invalid('text.format', 'object', format)
  string(format['type'], 'text.format.type')
  if (format['type'] !== 'json_schema') return
  filled(format['name'], 'text.format.name')
  if (!isObject(format['schema'])) throw invalid('text.format.schema', 'object', format['schema'])
}

function checkItems(items: unknown, place: string): void {
  if (typeof items === 'string') return
  if (!Array.isArray(items)) throw invalid(place, 'string or list of items', items)
  for (let index = 0; index < items.length; index++) checkItem(items[index], `${place}[${index}]`)
}

function checkItem(item: unknown, place: string): void {
  if (!isObject(item)) throw invalid(place, 'object', item)
  const type = item['type'] ?? 'message'
  string(type, `${place}.type`)
  switch (type) {
    case 'message':
      filled(item['role'], `${place}.role`)
      checkContent(item['content'], `${place}.content`)
      return
    case 'function_call':
      filled(item['call_id'], `${place}.call_id`)
      filled(item['name'], `${place}.name`)
      string(item['arguments'], `${place}.arguments`)
      return
    case 'custom_tool_call':
      filled(item['call_id'], `${place}.call_id`)
      filled(item['name'], `${place}.name`)
      string(item['input'], `${place}.input`)
      return
    case 'function_call_output':
    case 'custom_tool_call_output':
      filled(item['call_id'], `${place}.call_id`)
      checkContent(item['output'], `${place}.output`)
      return
    case 'item_reference':
      filled(item['id'], `${place}.id`)
      return
  }
}

function checkContent(content: unknown, place: string): void {
  if (typeof content === 'string') return
  if (!Array.isArray(content)) throw invalid(place, 'string or list of parts', content)
  for (let index = 0; index < content.length; index++) {
    const part: unknown = content[index]
    const at = `${place}[${index}]`
    if (!isObject(part)) throw invalid(at, 'object', part)
    filled(part['type'], `${at}.type`)
    if (part['type'] === 'input_text' || part['type'] === 'output_text') string(part['text'], `${at}.text`)
    if (part['type'] === 'refusal') string(part['refusal'], `${at}.refusal`)
  }
}

function checkTool(tool: unknown, place: string): void {
  if (!isObject(tool)) throw invalid(place, 'object', tool)
  filled(tool['type'], `${place}.type`)
  if (tool['type'] !== 'function' && tool['type'] !== 'custom') return
  filled(tool['name'], `${place}.name`)
  const { parameters } = tool
  if (tool['type'] === 'function' && parameters !== undefined && parameters !== null && !isObject(parameters))
    throw invalid(`${place}.parameters`, 'object', parameters)
}

function string(value: unknown, place: string): void {
  if (typeof value !== 'string') throw invalid(place, 'string', value)
}

function filled(value: unknown, place: string): void {
  if (typeof value !== 'string' || value === '') throw invalid(place, 'non-empty string', value)
}
