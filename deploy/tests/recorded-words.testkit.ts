import { type Fields, isFields } from '../../router-svc/providers/json.ts'
import type { Recorded } from './recorded-answers.testkit.ts'

/** What an answer says, read from the recording alone: the sweep holds it against what an adapter made of the same bytes. */
export interface Said {
  /** By choice. */
  texts: string[]
  reasoning: string
  calls: { name: string; arguments: unknown }[]
  /** As the provider names it. */
  finish: string[]
  /** Tokens, cache and reasoning included; null where the provider told none. */
  input: number | null
  output: number | null
}

/** Protocols of chats and texts. Each is read here in the fewest words, by its own documentation. */
export type Family = 'openai' | 'anthropic' | 'gemini' | 'converse' | 'responses' | 'cohere' | 'ollama' | 'text'

interface Event {
  name: string
  data: Fields
}

export function said(family: Family, recorded: Recorded): Said {
  const found: Said = { texts: [], reasoning: '', calls: [], finish: [], input: null, output: null }
  const text = Buffer.from(recorded.body).toString('utf8')
  if (recorded.stream === null) WHOLE[family](JSON.parse(text), found)
  else {
    const events = recorded.stream === 'aws' ? framesOf(recorded.body) : eventsOf(recorded.stream, text)
    // InvokeModel: in each frame an event of the model's maker.
    STREAMED[family](events[0]?.name === 'chunk' ? events.map(({ data }) => unwrapped(data)) : events, found)
  }
  return found
}

function unwrapped(frame: Fields): Event {
  const data = JSON.parse(Buffer.from(string(frame['bytes']), 'base64').toString('utf8')) as Fields
  // Nova's events are Converse's, each an object of one member.
  const [[name, member] = ['', null]] = Object.entries(data)
  return isFields(member) && /^(?:message|content|metadata)/.test(name) && !('type' in data)
    ? { name, data: member }
    : { name: '', data }
}

/** Server-sent events, or lines of JSON. What is no JSON (`[DONE]`) is left out. */
export function eventsOf(stream: 'sse' | 'lines', text: string): Event[] {
  const blocks = stream === 'lines' ? text.split('\n').map((line) => `data:${line}`) : text.split(/\r?\n\r?\n/)
  return blocks.flatMap((block) => {
    const lines = block.split(/\r?\n/)
    const data = lines.filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trim())
    const name =
      lines
        .find((line) => line.startsWith('event:'))
        ?.slice(6)
        .trim() ?? ''
    return data[0]?.startsWith('{') ? [{ name, data: JSON.parse(data.join('\n')) as Fields }] : []
  })
}

/** AWS's frames: two lengths, a checksum, headers of text (a length byte, the name, 7, two length bytes, the value), payload, checksum. */
export function framesOf(bytes: Uint8Array): Event[] {
  const buffer = Buffer.from(bytes)
  const events: Event[] = []
  for (let at = 0; at < buffer.length; at += buffer.readUInt32BE(at)) {
    const end = at + 12 + buffer.readUInt32BE(at + 4)
    let name = ''
    for (let header = at + 12; header < end; ) {
      const key = buffer.toString('utf8', header + 1, header + 1 + buffer.readUInt8(header))
      header += 2 + key.length
      const value = buffer.toString('utf8', header + 2, header + 2 + buffer.readUInt16BE(header))
      header += 2 + Buffer.byteLength(value)
      if (key === ':event-type' || key === ':exception-type') name = value
    }
    const data = JSON.parse(buffer.toString('utf8', end, at + buffer.readUInt32BE(at) - 4)) as Fields
    events.push({ name, data })
  }
  return events
}

const list = (value: unknown): Fields[] => (Array.isArray(value) ? value.filter(isFields) : [])
const string = (value: unknown): string => (typeof value === 'string' ? value : '')
const inner = (value: unknown, ...path: string[]): unknown =>
  path.reduce<unknown>((at, name) => (isFields(at) ? at[name] : undefined), value)
const number = (value: unknown): number => (typeof value === 'number' ? value : 0)

function add(found: Said, choice: number, text: string): void {
  for (let at = found.texts.length; at <= choice; at += 1) found.texts.push('')
  found.texts[choice] += text
}

const WHOLE: Readonly<Record<Family, (body: unknown, found: Said) => void>> = {
  openai: (body, found) => {
    for (const choice of list(inner(body, 'choices'))) openaiChoice(choice, choice['message'], found)
    for (const choice of list(inner(body, 'choices')))
      for (const call of list(inner(choice, 'message', 'tool_calls'))) found.calls.push(openaiCall(call))
    openaiUsage(body, found)
  },
  anthropic: (body, found) => anthropicMessage(body as Fields, found),
  gemini: (body, found) => geminiPart(body, found),
  converse: (body, found) => {
    for (const block of list(inner(body, 'output', 'message', 'content'))) {
      add(found, 0, string(block['text']))
      found.reasoning += string(inner(block, 'reasoningContent', 'reasoningText', 'text'))
      const use = block['toolUse']
      // `server_tool_use`: the provider's own tool, called by itself.
      if (isFields(use) && use['type'] !== 'server_tool_use')
        found.calls.push({ name: string(use['name']), arguments: use['input'] })
    }
    found.finish.push(string(inner(body, 'stopReason')))
    converseUsage(inner(body, 'usage'), found)
  },
  responses: (body, found) => responsesBody(body as Fields, found),
  cohere: (body, found) => {
    for (const part of list(inner(body, 'message', 'content'))) {
      add(found, 0, string(part['text']))
      found.reasoning += string(part['thinking'])
    }
    add(found, 0, string(inner(body, 'message', 'tool_plan')))
    for (const call of list(inner(body, 'message', 'tool_calls'))) found.calls.push(openaiCall(call))
    found.finish.push(string(inner(body, 'finish_reason')))
    cohereUsage(inner(body, 'usage'), found)
  },
  ollama: (body, found) => ollamaPiece(body as Fields, found),
  text: (body, found) => {
    const pieces = Array.isArray(body) ? list(body) : list(inner(body, 'results'))
    for (const [at, one] of (pieces.length > 0 ? pieces : [body as Fields]).entries()) {
      add(found, at, string(one['generated_text'] ?? one['outputText']))
      const finish = string(one['stop_reason'] ?? one['completionReason'] ?? inner(one, 'details', 'finish_reason'))
      if (finish !== 'not_finished' && finish !== '') found.finish.push(finish)
      if (one['tokenCount'] !== undefined) found.output = number(one['tokenCount'])
      if (typeof one['totalOutputTextTokenCount'] === 'number') found.output = one['totalOutputTextTokenCount']
      if (one['generated_token_count'] === undefined) continue
      found.output = Math.max(found.output ?? 0, number(one['generated_token_count']))
      found.input = Math.max(found.input ?? 0, number(one['input_token_count']))
    }
  },
}

const STREAMED: Readonly<Record<Family, (events: Event[], found: Said) => void>> = {
  openai: (events, found) => {
    const calls = new Map<string, { name: string; text: string }>()
    for (const { data } of events) {
      for (const choice of list(data['choices'])) {
        openaiChoice(choice, choice['delta'] ?? choice['message'], found)
        for (const call of list(inner(choice, 'delta', 'tool_calls'))) {
          const key = `${choice['index']} ${call['index']}`
          const made = calls.get(key) ?? { name: '', text: '' }
          made.name += string(inner(call, 'function', 'name'))
          made.text += string(inner(call, 'function', 'arguments'))
          calls.set(key, made)
        }
      }
      openaiUsage(data, found)
    }
    for (const { name, text } of calls.values()) found.calls.push({ name, arguments: JSON.parse(text || '{}') })
  },
  anthropic: (events, found) => {
    const message: Fields = { usage: {} }
    const blocks: Fields[] = []
    for (const { data } of events) {
      const delta = data['delta']
      const block = blocks[number(data['index'])]
      if (data['type'] === 'message_start') Object.assign(message, data['message'])
      else if (data['type'] === 'content_block_start') blocks.push({ ...(data['content_block'] as Fields), json: '' })
      else if (data['type'] === 'content_block_delta' && block !== undefined && isFields(delta)) {
        block['text'] = string(block['text']) + string(delta['text'])
        block['thinking'] = string(block['thinking']) + string(delta['thinking'])
        block['json'] = string(block['json']) + string(delta['partial_json'])
      } else if (data['type'] === 'message_delta') {
        Object.assign(message, delta)
        message['usage'] = { ...(message['usage'] as Fields), ...(data['usage'] as Fields) }
      }
    }
    for (const block of blocks) if (block['json'] !== '') block['input'] = JSON.parse(string(block['json']))
    anthropicMessage({ ...message, content: blocks }, found)
  },
  gemini: (events, found) => {
    for (const { data } of events) geminiPart(data, found)
  },
  converse: (events, found) => {
    const calls: { name: string; text: string }[] = []
    for (const { name, data } of events) {
      const use = inner(data, 'start', 'toolUse')
      if (isFields(use)) calls.push({ name: string(use['name']), text: '' })
      add(found, 0, string(inner(data, 'delta', 'text')))
      found.reasoning += string(inner(data, 'delta', 'reasoningContent', 'text'))
      const last = calls.at(-1)
      if (last !== undefined) last.text += string(inner(data, 'delta', 'toolUse', 'input'))
      if (name === 'messageStop') found.finish.push(string(data['stopReason']))
      if (name === 'metadata') converseUsage(data['usage'], found)
    }
    for (const { name, text } of calls) found.calls.push({ name, arguments: JSON.parse(text || '{}') })
  },
  responses: (events, found) => {
    const last = events.findLast(({ data }) => isFields(data['response']))
    const items = events.filter(({ data }) => data['type'] === 'response.output_item.done').map(({ data }) => data['item'])
    const response = (last?.data['response'] ?? {}) as Fields
    responsesBody({ ...response, output: list(response['output']).length > 0 ? response['output'] : items }, found)
  },
  cohere: (events, found) => {
    const calls: { name: string; text: string }[] = []
    for (const { data } of events) {
      const message = inner(data, 'delta', 'message')
      if (data['type'] === 'content-delta') {
        add(found, 0, string(inner(message, 'content', 'text')))
        found.reasoning += string(inner(message, 'content', 'thinking'))
      }
      add(found, 0, string(inner(message, 'tool_plan')))
      const call = inner(message, 'tool_calls', 'function')
      if (data['type'] === 'tool-call-start') calls.push({ name: string(inner(call, 'name')), text: '' })
      const made = calls.at(-1)
      if (made !== undefined) made.text += string(inner(call, 'arguments'))
      if (data['type'] === 'message-end') {
        found.finish.push(string(inner(data, 'delta', 'finish_reason')))
        cohereUsage(inner(data, 'delta', 'usage'), found)
      }
    }
    for (const { name, text } of calls) found.calls.push({ name, arguments: JSON.parse(text || '{}') })
  },
  ollama: (events, found) => {
    for (const { data } of events) ollamaPiece(data, found)
  },
  text: (events, found) => {
    for (const { data } of events) {
      if (Array.isArray(data['results']) || data['outputText'] !== undefined) WHOLE.text(data, found)
      if (isFields(data['token']) && data['token']['special'] !== true) add(found, 0, string(data['token']['text']))
      const finish = string(inner(data, 'details', 'finish_reason'))
      if (finish !== '') found.finish.push(finish)
    }
  },
}

function openaiChoice(choice: Fields, message: unknown, found: Said): void {
  const content = inner(message, 'content') ?? choice['text']
  const at = number(choice['index'])
  if (typeof content === 'string') add(found, at, content)
  for (const part of list(content)) {
    add(found, at, string(part['text']))
    for (const thought of list(part['thinking'])) found.reasoning += string(thought['text'])
  }
  found.reasoning += string(inner(message, 'reasoning_content') ?? inner(message, 'reasoning'))
  const legacy = inner(message, 'function_call')
  if (isFields(legacy)) found.calls.push({ name: string(legacy['name']), arguments: JSON.parse(string(legacy['arguments'])) })
  const reason = string(choice['finish_reason'])
  if (reason !== '') found.finish[at] = reason
}

function openaiCall(call: Fields): Said['calls'][number] {
  const custom = call['custom']
  if (isFields(custom)) return { name: string(custom['name']), arguments: custom['input'] }
  const given = inner(call, 'function', 'arguments')
  return {
    name: string(inner(call, 'function', 'name')),
    arguments: typeof given === 'string' ? JSON.parse(given || '{}') : given,
  }
}

function openaiUsage(body: unknown, found: Said): void {
  const usage = inner(body, 'usage') ?? inner(body, 'x_groq', 'usage')
  if (!isFields(usage)) return
  const reasoning = number(inner(usage, 'completion_tokens_details', 'reasoning_tokens'))
  const counted = number(usage['prompt_tokens']) + number(usage['completion_tokens'])
  // xAI leaves what was thought out of what was written.
  const isApart = number(usage['total_tokens']) === counted + reasoning
  found.output = number(usage['completion_tokens']) + (isApart ? reasoning : 0)
  // Mistral counts sound beside the words.
  const hasSound = typeof usage['prompt_audio_seconds'] === 'number'
  found.input = hasSound ? number(usage['total_tokens']) - found.output : number(usage['prompt_tokens'])
}

function anthropicMessage(message: Fields, found: Said): void {
  for (const block of list(message['content'])) {
    if (block['type'] === 'text') add(found, 0, string(block['text']))
    if (block['type'] === 'thinking') found.reasoning += string(block['thinking'])
    if (block['type'] === 'tool_use') found.calls.push({ name: string(block['name']), arguments: block['input'] })
  }
  found.finish.push(string(message['stop_reason']))
  const usage = message['usage'] as Fields
  found.input = INPUT.reduce((sum, name) => sum + number(usage[name]), 0)
  found.output = number(usage['output_tokens'])
}

const INPUT = ['input_tokens', 'cache_creation_input_tokens', 'cache_read_input_tokens']

function geminiPart(body: unknown, found: Said): void {
  for (const candidate of list(inner(body, 'candidates'))) {
    for (const part of list(inner(candidate, 'content', 'parts'))) {
      if (part['thought'] === true) found.reasoning += string(part['text'])
      else add(found, number(candidate['index']), string(part['text']))
      const call = part['functionCall']
      if (!isFields(call)) continue
      if (call['name'] !== undefined) found.calls.push({ name: string(call['name']), arguments: { ...(call['args'] as Fields) } })
      for (const piece of list(call['partialArgs'])) putPiece(found.calls.at(-1)?.arguments as Fields, piece)
    }
    const reason = string(candidate['finishReason'])
    if (reason !== '') found.finish[number(candidate['index'])] = reason
  }
  const usage = inner(body, 'usageMetadata')
  if (!isFields(usage)) return
  found.input = number(usage['promptTokenCount']) + number(usage['toolUsePromptTokenCount'])
  found.output = number(usage['candidatesTokenCount']) + number(usage['thoughtsTokenCount'])
}

/** A piece of an argument, all of them members of the object itself in what was recorded. */
function putPiece(into: Fields, piece: Fields): void {
  const name = string(piece['jsonPath']).replace(/^\$\./, '')
  const { stringValue, numberValue, boolValue } = piece
  into[name] = stringValue === undefined ? (numberValue ?? boolValue) : string(into[name]) + string(stringValue)
}

function converseUsage(usage: unknown, found: Said): void {
  if (!isFields(usage)) return
  const { inputTokens, cacheReadInputTokens, cacheWriteInputTokens } = usage
  found.input = number(inputTokens) + number(cacheReadInputTokens) + number(cacheWriteInputTokens)
  found.output = number(usage['outputTokens'])
}

function responsesBody(body: Fields, found: Said): void {
  for (const item of list(body['output'])) {
    if (item['type'] === 'message') for (const part of list(item['content'])) add(found, 0, string(part['text']))
    if (item['type'] === 'reasoning')
      found.reasoning += [...list(item['summary']), ...list(item['content'])].map((part) => string(part['text'])).join('')
    if (item['type'] === 'function_call')
      found.calls.push({ name: string(item['name']), arguments: JSON.parse(string(item['arguments']) || '{}') })
    if (item['type'] === 'custom_tool_call') found.calls.push({ name: string(item['name']), arguments: item['input'] })
  }
  const incomplete = inner(body, 'incomplete_details', 'reason')
  found.finish.push(string(incomplete) || (found.calls.length > 0 ? 'tool_calls' : string(body['status'])))
  const usage = body['usage']
  if (!isFields(usage)) return
  found.input = number(usage['input_tokens'])
  found.output = number(usage['output_tokens'])
}

/** What is billed, where it says so: what the model read holds a template of a thousand tokens. */
function cohereUsage(usage: unknown, found: Said): void {
  const tokens = inner(usage, 'billed_units') ?? inner(usage, 'tokens')
  if (!isFields(tokens)) return
  found.input = number(tokens['input_tokens'])
  found.output = number(tokens['output_tokens'])
}

function ollamaPiece(piece: Fields, found: Said): void {
  add(found, 0, string(inner(piece, 'message', 'content') ?? piece['response']))
  found.reasoning += string(inner(piece, 'message', 'thinking') ?? piece['thinking'])
  for (const call of list(inner(piece, 'message', 'tool_calls'))) found.calls.push(openaiCall(call))
  if (piece['done'] !== true) return
  found.finish.push(string(piece['done_reason']))
  found.input = number(piece['prompt_eval_count'])
  found.output = number(piece['eval_count'])
}
