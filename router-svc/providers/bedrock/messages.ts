import type { Message, ThinkingBlock, ToolCall } from '../../canonical/chat.ts'
import { Sanitiser } from '../anthropic/names.ts'
import { type ContentContext, cachePoint, encodeContent, isBlank, PLACEHOLDER, refuse } from './content.ts'
import { type Fields, isFields, type Turn, text } from './wire.ts'

export interface Conversation {
  system: Fields[]
  messages: Turn[]
  /** Tools called in it: the API wants their definitions whatever the client sends. */
  called: Set<string>
}

/** What the API takes as the id of a call: 64 letters, digits, `_`, `-`. Some models give longer words, and take them back. */
const ID_LIMIT = 64
const ID = /^[a-zA-Z0-9_.:-]{1,64}$/

interface Draft {
  role: 'user' | 'assistant'
  /** Tool results stand first in their turn, whatever was said around them. */
  results: Fields[]
  blocks: Fields[]
}

/**
 * Messages as system blocks and alternating turns: neighbours of one role merge, results of tools become blocks of the user's turn, the first
 * turn is the user's. System messages after the first other message join the user's turn at their place. Throws `bad_request` naming the
 * message. `caches`: the model takes cache points; `claude`: it takes its signed thinking back.
 */
export function encodeMessages(
  messages: readonly Message[],
  names: Sanitiser,
  { caches, claude }: { caches: boolean; claude: boolean },
): Conversation {
  const context: ContentContext = { documents: new Set(), caches }
  const ids = createIds()
  const system: Fields[] = []
  const drafts: Draft[] = []
  const called = new Set<string>()
  let lastFunction = ''
  for (const [index, message] of messages.entries()) {
    const path = `messages[${index}]`
    const mark = cachePoint(message.cache_control, caches)
    switch (message.role) {
      case 'system':
      case 'developer': {
        const blocks = [...encodeContent(message.content, `${path}.content`, context), ...mark]
        if (drafts.length === 0) system.push(...blocks)
        else draft(drafts, 'user').blocks.push(...blocks)
        break
      }
      case 'user':
        draft(drafts, 'user').blocks.push(...encodeContent(message.content, `${path}.content`, context), ...mark)
        break
      case 'assistant': {
        if (message.function_call) lastFunction = `function_${index}`
        const calls = callsOf(message, index).map((call, at) => toolUse(call, `${path}.tool_calls[${at}]`, names, ids))
        for (const { toolUse: use } of calls) called.add(use.name)
        const said = assistantBlocks(message, path, context, claude)
        draft(drafts, 'assistant').blocks.push(...said, ...calls.map((call): Fields => ({ ...call })), ...mark)
        break
      }
      case 'tool':
      case 'function': {
        const id = message.role === 'function' ? lastFunction : text(message.tool_call_id)
        draft(drafts, 'user').results.push(toolResult(message, path, id, ids, context), ...mark)
        break
      }
      default:
        throw refuse(`${path}.role`, `is the unknown role ${JSON.stringify(message.role)}`)
    }
  }
  return { system, messages: turns(drafts), called }
}

/** The turn to write to: the last one when it has that role, else a new one. Turns left empty vanish, so look past them. */
function draft(drafts: Draft[], role: Draft['role']): Draft {
  const last = drafts.findLast((entry) => entry.blocks.length + entry.results.length > 0) ?? drafts.at(-1)
  if (last !== undefined && last.role === role) return last
  const fresh: Draft = { role, results: [], blocks: [] }
  drafts.push(fresh)
  return fresh
}

function turns(drafts: Draft[]): Turn[] {
  const made: Turn[] = []
  for (const { role, results, blocks } of drafts) {
    const content = [...results, ...blocks]
    if (content.length === 0) continue
    // A document must have text beside it.
    if (content.some((block) => 'document' in block) && !content.some((block) => 'text' in block || 'toolResult' in block))
      content.push({ text: PLACEHOLDER })
    made.push({ role, content })
  }
  if (made[0]?.role !== 'user') made.unshift({ role: 'user', content: [{ text: PLACEHOLDER }] })
  const last = made.at(-1)
  if (last?.role === 'assistant') trimEnd(last)
  return made
}

/** A final assistant turn is the beginning of the answer, and may not end in white space. */
function trimEnd({ content }: Turn): void {
  const last = content.at(-1)
  if (last !== undefined && typeof last['text'] === 'string') content[content.length - 1] = { text: last['text'].trimEnd() }
}

function toolResult(message: Message, path: string, id: string, ids: (id: string) => string, context: ContentContext): Fields {
  if (id === '') throw refuse(`${path}.tool_call_id`, 'is missing')
  const points: Fields[] = []
  const content: Fields[] = []
  for (const block of encodeContent(message.content, `${path}.content`, context))
    if ('cachePoint' in block) points.push(block)
    else content.push(block)
  if (content.length === 0) content.push({ text: PLACEHOLDER })
  return { toolResult: { toolUseId: ids(id), content, status: message['is_error'] === true ? 'error' : 'success' } }
}

/** Thinking first, then what tools of the service did, then text. */
function assistantBlocks(message: Message, path: string, context: ContentContext, claude: boolean): Fields[] {
  const blocks: Fields[] = claude ? replayable(message.thinking_blocks) : []
  const fields = message['provider_specific_fields']
  // What a client sends back of an earlier answer, see answer.ts. Blocks with a `type` are another protocol's.
  if (isFields(fields) && Array.isArray(fields['content_blocks']))
    blocks.push(...fields['content_blocks'].filter((block): block is Fields => isFields(block) && block['type'] === undefined))
  const content = encodeContent(message.content, `${path}.content`, context)
  if (content.length === 0 && typeof message['refusal'] === 'string' && !isBlank(message['refusal']))
    content.push({ text: message['refusal'] })
  return [...blocks, ...content]
}

/** Thinking without a signature is another provider's: the model would refuse it. The rest goes back exactly as it came. */
function replayable(blocks: ThinkingBlock[] | undefined): Fields[] {
  if (!Array.isArray(blocks)) return []
  const made: Fields[] = []
  for (const { type, thinking, signature, data } of blocks) {
    if (type === 'redacted_thinking') {
      if (text(data) !== '') made.push({ reasoningContent: { redactedContent: data } })
    } else if (text(signature) !== '') made.push({ reasoningContent: { reasoningText: { text: text(thinking), signature } } })
  }
  return made
}

function callsOf(message: Message, index: number): ToolCall[] {
  const calls = [...(message.tool_calls ?? [])]
  if (message.function_call) calls.push({ id: `function_${index}`, type: 'function', function: message.function_call })
  return calls
}

function toolUse(
  call: ToolCall,
  path: string,
  names: Sanitiser,
  ids: (id: string) => string,
): { toolUse: { toolUseId: string; name: string; input: Fields } } {
  const id = text(call.id)
  if (id === '') throw refuse(`${path}.id`, 'is missing')
  const name = names.clean(text(call.custom?.name ?? call.function?.name))
  const input = call.custom
    ? { input: text(call.custom.input) }
    : parseArguments(call.function?.arguments, `${path}.function.arguments`)
  return { toolUse: { toolUseId: ids(id), name, input } }
}

/** Arguments are a JSON object as text; empty text and null mean no arguments. */
function parseArguments(source: unknown, path: string): Fields {
  if (isFields(source)) return source
  const value = text(source)
  if (isBlank(value)) return {}
  let parsed: unknown
  try {
    parsed = JSON.parse(value)
  } catch {
    throw refuse(path, 'is not valid JSON')
  }
  if (parsed === null) return {}
  if (isFields(parsed)) return parsed
  throw refuse(path, 'must be a JSON object')
}

/** Ids the API would refuse get another form, the same id always the same. */
function createIds(): (id: string) => string {
  const sanitiser = new Sanitiser(ID_LIMIT)
  return (id) => (ID.test(id) ? id : sanitiser.clean(id))
}
