import { GatewayError } from '../../../shared/errors.ts'
import type { Message, ThinkingBlock, ToolCall } from '../../canonical/chat.ts'
import { encodeContent, isBlank } from './content.ts'
import { Sanitiser } from './names.ts'
import { type Block, type Fields, isBlock, isFields, type Turn, text } from './wire.ts'

export interface Conversation {
  system: Block[]
  messages: Turn[]
}

/** Stands where the API demands a user turn and the client has none; the API refuses blank text. */
const PLACEHOLDER = '.'

interface Draft {
  role: 'user' | 'assistant' | 'system'
  /** Tool results stand first in their turn, whatever was said around them. */
  results: Block[]
  blocks: Block[]
}

/**
 * Messages as system blocks and alternating turns: neighbours of one role merge, tool results become user blocks, the first turn is the
 * user's. System messages before the first other message are the system prompt; later ones join the user's turn at their place, or stay
 * system turns where `systemTurns` says the beta for it is on. Throws `bad_request` naming the message.
 */
export function encodeMessages(messages: readonly Message[], names: Sanitiser, systemTurns = false): Conversation {
  const ids = new Sanitiser()
  const system: Block[] = []
  const drafts: Draft[] = []
  let lastFunction = ''
  for (const [index, message] of messages.entries()) {
    const path = `messages[${index}]`
    switch (message.role) {
      case 'system':
      case 'developer': {
        const blocks = marked(encodeContent(message.content, `${path}.content`), message)
        if (drafts.length === 0) system.push(...blocks)
        // Blocks other than text (tools added or removed on the way) exist in system turns only.
        else draft(drafts, systemTurns || blocks.some(({ type }) => type !== 'text') ? 'system' : 'user').blocks.push(...blocks)
        break
      }
      case 'user':
        draft(drafts, 'user').blocks.push(...marked(encodeContent(message.content, `${path}.content`), message))
        break
      case 'assistant':
        if (message.function_call) lastFunction = `function_${index}`
        draft(drafts, 'assistant').blocks.push(...assistantBlocks(message, path, index, names, ids))
        break
      case 'tool':
        draft(drafts, 'user').results.push(toolResult(message, path, text(message.tool_call_id), ids))
        break
      case 'function':
        // The API before tools: the result of the one call made last.
        draft(drafts, 'user').results.push(toolResult(message, path, lastFunction, ids))
        break
      default:
        throw new GatewayError(
          'bad_request',
          `litellm.BadRequestError: ${path} has the unknown role ${JSON.stringify(message.role)}.`,
          {
            param: `${path}.role`,
          },
        )
    }
  }
  return { system, messages: turns(drafts) }
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
  const last = drafts.findLast((entry) => entry.blocks.length + entry.results.length > 0)
  // A final assistant turn is a prefill, and may not end in white space.
  if (last?.role === 'assistant') trimEnd(last.blocks)
  const turns: Turn[] = []
  for (const { role, results, blocks } of drafts) {
    if (results.length + blocks.length > 0) turns.push({ role, content: compact([...results, ...blocks]) })
  }
  if (turns[0]?.role !== 'user') turns.unshift({ role: 'user', content: PLACEHOLDER })
  return turns
}

function trimEnd(blocks: Block[]): void {
  const last = blocks.at(-1)
  if (last?.type !== 'text') return
  const trimmed = text(last['text']).trimEnd()
  if (trimmed === '') blocks.pop()
  else blocks[blocks.length - 1] = { ...last, text: trimmed }
}

/** A lone plain text is sent as a string, as clients mostly do. */
function compact(blocks: Block[]): string | Block[] {
  const only = blocks[0]
  const plain = blocks.length === 1 && only?.type === 'text' && Object.keys(only).length === 2
  return plain && typeof only['text'] === 'string' ? only['text'] : blocks
}

/** A mark on the whole message goes to its last block: everything up to there is cached. */
function marked(blocks: Block[], message: Message): Block[] {
  const last = blocks.at(-1)
  if (last === undefined || !isFields(message.cache_control)) return blocks
  return [...blocks.slice(0, -1), { ...last, cache_control: message.cache_control }]
}

function toolResult(message: Message, path: string, id: string, ids: Sanitiser): Block {
  if (id === '')
    throw new GatewayError('bad_request', `litellm.BadRequestError: ${path} has no tool_call_id.`, {
      param: `${path}.tool_call_id`,
    })
  const content =
    typeof message.content === 'string' ? message.content : compact(encodeContent(message.content, `${path}.content`))
  const block: Block = { type: 'tool_result', tool_use_id: ids.clean(id), content }
  if (message['is_error'] === true) block['is_error'] = true
  if (isFields(message.cache_control)) block['cache_control'] = message.cache_control
  return block
}

/** In the order the API wants: thinking, what server tools did, text, calls. */
function assistantBlocks(message: Message, path: string, index: number, names: Sanitiser, ids: Sanitiser): Block[] {
  const content = encodeContent(message.content, `${path}.content`)
  const blocks: Block[] = []
  if (!content.some(isThinking)) blocks.push(...replayable(message.thinking_blocks))
  const fields = message['provider_specific_fields']
  // What a client sends back of an earlier answer, see response.ts.
  if (isFields(fields) && Array.isArray(fields['content_blocks'])) blocks.push(...fields['content_blocks'].filter(isBlock))
  if (content.length === 0 && typeof message['refusal'] === 'string' && !isBlank(message['refusal'])) {
    content.push({ type: 'text', text: message['refusal'] })
  }
  blocks.push(...content)
  for (const [position, call] of (message.tool_calls ?? []).entries()) {
    blocks.push(toolUse(call, `${path}.tool_calls[${position}]`, names, ids))
  }
  if (message.function_call) {
    blocks.push({
      type: 'tool_use',
      id: `function_${index}`,
      name: names.clean(message.function_call.name),
      input: parseArguments(message.function_call.arguments, `${path}.function_call`),
    })
  }
  return marked(blocks, message)
}

function isThinking(block: Block): boolean {
  return block.type === 'thinking' || block.type === 'redacted_thinking'
}

/** Thinking without a signature is another provider's: the API would refuse it. The rest goes back exactly as it came. */
function replayable(blocks: ThinkingBlock[] | undefined): Block[] {
  if (!Array.isArray(blocks)) return []
  const usable = blocks.filter((block) => (block.type === 'thinking' ? text(block.signature) !== '' : text(block.data) !== ''))
  return usable as (ThinkingBlock & Fields)[]
}

function toolUse(call: ToolCall, path: string, names: Sanitiser, ids: Sanitiser): Block {
  const id = text(call.id)
  if (id === '') throw new GatewayError('bad_request', `litellm.BadRequestError: ${path} has no id.`, { param: `${path}.id` })
  const block: Block = { type: 'tool_use', id: ids.clean(id), name: '', input: {} }
  if (call.custom) {
    block['name'] = names.clean(text(call.custom.name))
    block['input'] = { input: text(call.custom.input) }
  } else {
    block['name'] = names.clean(text(call.function?.name))
    block['input'] = parseArguments(call.function?.arguments, `${path}.function`)
  }
  if (isFields(call['caller'])) block['caller'] = call['caller']
  if (isFields(call['cache_control'])) block['cache_control'] = call['cache_control']
  return block
}

/** Arguments are a JSON object as text; empty text and null mean no arguments. */
function parseArguments(source: unknown, path: string): Fields {
  if (isFields(source)) return source
  const value = text(source)
  if (isBlank(value)) return {}
  let parsed: unknown
  try {
    parsed = JSON.parse(value)
  } catch (cause) {
    throw new GatewayError('bad_request', `litellm.BadRequestError: ${path}.arguments is not valid JSON.`, {
      param: `${path}.arguments`,
      cause,
    })
  }
  if (parsed === null) return {}
  if (isFields(parsed)) return parsed
  throw new GatewayError('bad_request', `litellm.BadRequestError: ${path}.arguments must be a JSON object.`, {
    param: `${path}.arguments`,
  })
}
