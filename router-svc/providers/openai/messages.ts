import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { ContentPart, Message, Tool, ToolCall } from '../../canonical/chat.ts'

/** Changes one message or tool, or returns it as it is: identity tells the caller that nothing changed. */
type Step<T> = (value: T) => T

/** What a row asks to be done to every message, in order; empty for a provider that takes OpenAI's messages as they are. */
export function messageSteps(row: ProviderRow): readonly Step<Message>[] {
  const steps: Step<Message>[] = []
  if (row.strictMessages) steps.push(withoutForeignFields)
  if (row.stripCacheMarks) steps.push(withoutCacheMarks)
  if (row.noDeveloper) steps.push((message) => (message.role === 'developer' ? { ...message, role: 'system' } : message))
  if (row.replaysReasoning) steps.push(withReasoning)
  if (row.stripNullFields) steps.push(withoutNulls)
  if (row.stripName)
    steps.push((message) => (message.role === 'tool' || message.role === 'function' ? message : omit(message, ['name'])))
  if (row.flattenContent) steps.push(flattened)
  const idLength = row.toolIdLength
  if (idLength !== undefined) steps.push((message) => withToolIds(message, idLength))
  return steps
}

/** The same for tools. */
export function toolSteps(row: ProviderRow): readonly Step<Tool>[] {
  const steps: Step<Tool>[] = []
  if (row.strictMessages || row.stripCacheMarks) steps.push((tool) => omit(tool, ['cache_control']))
  if (row.plainToolSchemas) steps.push(plainTool)
  return steps
}

/** Runs the steps over a list; the same list when no step changed anything. */
export function mapped<T>(values: readonly T[], steps: readonly Step<T>[]): readonly T[] {
  if (steps.length === 0) return values
  let copy: T[] | null = null
  for (let index = 0; index < values.length; index++) {
    const before = values[index] as T
    let after = before
    for (const step of steps) after = step(after)
    if (after === before) continue
    copy ??= values.slice()
    copy[index] = after
  }
  return copy ?? values
}

const FOREIGN_FIELDS = [
  'cache_control',
  'thinking_blocks',
  'reasoning_content',
  'reasoning',
  'reasoning_details',
  'reasoning_signature',
  'annotations',
  'provider_specific_fields',
]

function withoutForeignFields(message: Message): Message {
  return withoutCacheMarks(omit(message, FOREIGN_FIELDS))
}

function withReasoning(message: Message): Message {
  const { reasoning_content: reasoning, ...rest } = message
  return reasoning === undefined || reasoning === null ? message : { reasoning, ...rest }
}

function withoutCacheMarks(message: Message): Message {
  const own = omit(message, ['cache_control'])
  if (!Array.isArray(own.content)) return own
  const content = mapped<ContentPart>(own.content, [(part) => omit(part, ['cache_control'])])
  return content === own.content ? own : { ...own, content: content as ContentPart[] }
}

function withoutNulls(message: Message): Message {
  const names = Object.keys(message).filter((name) => message[name] === null)
  return names.length === 0 ? message : omit(message, names)
}

function flattened(message: Message): Message {
  const { content } = message
  if (!Array.isArray(content) || !content.every((part) => part.type === 'text' && typeof part['text'] === 'string'))
    return message
  return { ...message, content: content.map((part) => part['text']).join('') }
}

function withToolIds(message: Message, length: number): Message {
  let changed = message
  if (typeof message.tool_call_id === 'string') {
    const id = toolId(message.tool_call_id, length)
    if (id !== message.tool_call_id) changed = { ...changed, tool_call_id: id }
  }
  if (Array.isArray(message.tool_calls)) {
    const calls = mapped<ToolCall>(message.tool_calls, [
      (call) => {
        const id = toolId(call.id, length)
        return id === call.id ? call : { ...call, id }
      },
    ])
    if (calls !== message.tool_calls) changed = { ...changed, tool_calls: calls as ToolCall[] }
  }
  return changed
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'

/** `id` when it is `length` letters and digits, else as many made of its hash (FNV-1a, twice), so that call and result still match. */
function toolId(id: string, length: number): string {
  if (id.length === length && /^[A-Za-z0-9]+$/.test(id)) return id
  let low = 0x811c9dc5
  let high = 0x01000193
  for (let index = 0; index < id.length; index++) {
    low = Math.imul(low ^ id.charCodeAt(index), 0x01000193) >>> 0
    high = Math.imul(high ^ (low >>> 7), 0x85ebca6b) >>> 0
  }
  let made = ''
  while (made.length < length) {
    made += LETTERS[low % LETTERS.length]
    low = (Math.imul(low, 0x01000193) ^ high) >>> 0
    high = Math.imul(high ^ (high >>> 13), 0x85ebca6b) >>> 0
  }
  return made
}

function plainTool(tool: Tool): Tool {
  if (tool.function === undefined) return tool
  const own = omit(tool.function, ['strict'])
  const parameters = own.parameters === undefined ? undefined : plainSchema(own.parameters)
  if (own === tool.function && parameters === own.parameters) return tool
  return { ...tool, function: parameters === undefined ? own : { ...own, parameters: parameters as Record<string, unknown> } }
}

/** A JSON schema without `additionalProperties` and `strict`, at any depth; the same object when it had none. */
function plainSchema(schema: unknown): unknown {
  if (Array.isArray(schema)) return mapped(schema, [plainSchema])
  if (typeof schema !== 'object' || schema === null) return schema
  let copy = omit(schema as Record<string, unknown>, ['additionalProperties', 'strict'])
  for (const [name, value] of Object.entries(copy)) {
    // The names under `properties` are the user's own, one of them may be called `strict`.
    const plain = name === 'properties' ? plainProperties(value) : plainSchema(value)
    if (plain === value) continue
    if (copy === schema) copy = { ...copy }
    copy[name] = plain
  }
  return copy
}

function plainProperties(properties: unknown): unknown {
  if (typeof properties !== 'object' || properties === null || Array.isArray(properties)) return properties
  let copy = properties as Record<string, unknown>
  for (const [name, value] of Object.entries(copy)) {
    const plain = plainSchema(value)
    if (plain === value) continue
    if (copy === properties) copy = { ...copy }
    copy[name] = plain
  }
  return copy
}

/** `value` without these members; the same object when it has none of them. */
function omit<T extends object>(value: T, names: readonly string[]): T {
  let copy: Record<string, unknown> | null = null
  for (const name of names) {
    if (!Object.hasOwn(value, name)) continue
    copy ??= { ...value } as Record<string, unknown>
    delete copy[name]
  }
  return (copy ?? value) as T
}
