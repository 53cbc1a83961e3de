import type { ChatRequest, Tool } from '../../canonical/chat.ts'
import type { ResponsesTool, ResponsesToolChoice, TextFormat } from '../../canonical/responses.ts'
import { type Fields, isFields, text } from '../json.ts'

/** Chat's nested tools, flat. Hosted ones (`web_search`, `file_search`, …) and those already flat go as they are. */
export function encodeTools(request: ChatRequest): ResponsesTool[] {
  const tools = (request.tools ?? []).map(encodeTool)
  const search = request['web_search_options']
  if (isFields(search)) tools.push(webSearch(search))
  return tools
}

function encodeTool(tool: Tool): ResponsesTool {
  const { function: named, custom, cache_control: _marker, ...rest } = tool
  if (isFields(named)) {
    const { name, description, parameters, strict, ...more } = named
    return {
      ...rest,
      ...more,
      type: 'function',
      name,
      ...(typeof description === 'string' ? { description } : {}),
      parameters: isFields(parameters) ? parameters : { type: 'object', properties: {} },
      // Left out, this API would make the schema strict, which chat does not.
      strict: strict ?? false,
    }
  }
  if (tool.type === 'custom' && isFields(custom)) {
    const { format, ...more } = custom
    // The grammar, too, stands one level deeper in chat.
    const grammar = isFields(format) && isFields(format['grammar']) ? { type: format['type'], ...format['grammar'] } : format
    return { ...rest, ...more, type: 'custom', ...(isFields(grammar) ? { format: grammar } : {}) } as ResponsesTool
  }
  return rest as ResponsesTool
}

/** Chat's option for its search models, as the hosted tool. */
function webSearch(options: Fields): ResponsesTool {
  const { user_location: location, ...rest } = options
  if (!isFields(location)) return { type: 'web_search', ...rest }
  const { approximate, ...flat } = location
  const place: Fields = { type: 'approximate', ...flat, ...(isFields(approximate) ? approximate : {}) }
  return { type: 'web_search', ...rest, user_location: place }
}

/** Undefined where the request says nothing. */
export function encodeToolChoice(choice: unknown): ResponsesToolChoice | undefined {
  if (choice === 'none' || choice === 'auto' || choice === 'required') return choice
  // Other protocols' word, which clients use with many servers.
  if (choice === 'any') return 'required'
  if (!isFields(choice)) return undefined
  const type = text(choice['type'])
  const named = choice['function'] ?? choice['custom']
  if ((type === 'function' || type === 'custom') && isFields(named)) return { type, name: text(named['name']) }
  const allowed = choice['allowed_tools']
  if (type === 'allowed_tools' && isFields(allowed)) {
    const tools = Array.isArray(allowed['tools']) ? (allowed['tools'] as unknown[]) : []
    return { type, mode: allowed['mode'], tools: tools.map((tool) => encodeToolChoice(tool) ?? tool) }
  }
  return { ...choice, type }
}

/** Chat's `response_format` as `text.format`. */
export function encodeFormat(format: ChatRequest['response_format']): TextFormat | undefined {
  if (!isFields(format)) return undefined
  const { json_schema: described } = format as Fields
  if (format.type !== 'json_schema' || !isFields(described)) return { ...format } as TextFormat
  return { name: 'response', schema: {}, ...described, type: 'json_schema' } as TextFormat
}
