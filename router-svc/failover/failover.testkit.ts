import { createParser } from 'eventsource-parser'
import type { DialectName } from '../../proto/endpoints.ts'
import { DEFAULT_ROUTING } from '../../proto/routing.ts'
import type { Attempt } from '../../proto/usage.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Call } from '../call.ts'
import type { ChatChunk } from '../canonical/chat.ts'
import { dialects } from '../dialects/index.ts'
import { providerOf } from '../providers/index.ts'
import type { StreamReader } from '../read-stream.ts'
import { streamReader } from '../readers.ts'
import type { Route } from '../runtime.ts'
import { requestFor, type Sent } from '../upstream-request.ts'

/** A call of a client that speaks `dialect`. */
export function callOf(dialect: DialectName, request: Record<string, unknown>, includeUsage = true): Call {
  return {
    dialect: dialects[dialect],
    endpoint: { mode: 'chat', path: '/v1/chat/completions' },
    message: { callId: 'call', headers: {} },
    request: { model: 'alias', messages: [{ role: 'user', content: 'hi' }], stream: true, ...request },
    requestedModel: 'alias',
    modelGroup: 'group',
    stream: true,
    includeUsage,
    routing: DEFAULT_ROUTING,
    attempts: [] as Attempt[],
    fallbacks: 0,
    capture: null,
    resume: null,
    responses: null,
  } as unknown as Call
}

export function routeTo(provider: string, id: string, model = 'upstream'): Route {
  const made = providerOf(provider)
  if (made === undefined) throw new Error(`no provider ${provider}`)
  const deployment = { id, defaults: {}, extraBody: {} }
  return { provider: made, deployment, model, target: { provider, model, base: made.base } } as unknown as Route
}

export function readerOf(call: Call, route: Route): StreamReader {
  return streamReader(call, route, { request: requestFor(call, route), names: null } as unknown as Sent, 1_000)
}

/** What came of one stream: the bytes handed out, and how it ended. */
export interface Played {
  bytes: string
  error: GatewayError | null
  reader: StreamReader
}

/** Feeds a stream to the end of its pieces; `closed`: the provider closes then, else the connection breaks. */
export function play(call: Call, route: Route, pieces: readonly Uint8Array[], closed = false): Played {
  const reader = readerOf(call, route)
  let bytes = ''
  try {
    for (const piece of pieces) {
      bytes += Buffer.from(reader.push(piece)).toString()
      if (reader.done) break
    }
    if (closed && !reader.done) bytes += Buffer.from(reader.finish()).toString()
  } catch (thrown) {
    if (!(thrown instanceof GatewayError)) throw thrown
    return { bytes, error: thrown, reader }
  }
  return { bytes, error: null, reader }
}

/** Books a dead attempt as the loop does, and sets what the next one goes on with. False = it may not. */
export function resumeAfter(call: Call, { reader }: Played, route: Route): boolean {
  const from = reader.continuation()
  call.attempts.push({ deploymentId: route.deployment.id, outcome: 'partial', usage: reader.usage() } as Attempt)
  call.resume = from
  return from !== null
}

export interface Said {
  text: string
  reasoning: string
  ids: Set<string>
  roles: number
  finishes: string[]
  tools: string
  notes: unknown[]
  usages: unknown[]
  terminators: number
}

/** What an OpenAI client makes of bytes. */
export function readOpenAI(bytes: string): Said {
  const said: Said = {
    text: '',
    reasoning: '',
    ids: new Set(),
    roles: 0,
    finishes: [],
    tools: '',
    notes: [],
    usages: [],
    terminators: 0,
  }
  eachEvent(bytes, (data) => {
    if (data === '[DONE]') {
      said.terminators += 1
      return
    }
    const chunk = JSON.parse(data) as ChatChunk
    said.ids.add(`${chunk.model} ${chunk.id} ${chunk.created} ${chunk.system_fingerprint ?? 'none'}`)
    if (chunk['turnpike'] !== undefined) said.notes.push(chunk['turnpike'])
    if (chunk.usage) said.usages.push(chunk.usage)
    for (const { delta, finish_reason: finish } of chunk.choices) {
      said.text += delta.content ?? ''
      said.reasoning += delta.reasoning_content ?? ''
      if (delta.role !== undefined) said.roles += 1
      if (finish) said.finishes.push(finish)
      for (const call of delta.tool_calls ?? [])
        said.tools += `${call.index}${call.function?.name ?? ''}${call.function?.arguments ?? ''}`
    }
  })
  return said
}

/** The same for an Anthropic client. Throws where the events are not in the protocol's order. */
export function readAnthropic(bytes: string): Said {
  const said = readOpenAI('')
  let open: string | null = null
  let blocks = 0
  let ended = false
  const demand = (holds: boolean, what: string) => {
    if (!holds) throw new Error(`${what}\n${bytes}`)
  }
  eachEvent(bytes, (data, name) => {
    const event = JSON.parse(data) as { type: string; index: number; [field: string]: unknown }
    demand(name === event.type, 'the event is named otherwise')
    demand(!ended, 'events after the last one')
    if (event.type === 'ping') return
    if (event.type === 'message_start') said.roles += 1
    demand(said.roles === 1, 'not begun once')
    switch (event.type) {
      case 'message_start':
        said.ids.add((event['message'] as { id: string }).id)
        break
      case 'content_block_start': {
        const block = event['content_block'] as { type: string; name?: string }
        demand(open === null && event.index === blocks, 'a block begins inside another')
        open = block.type
        if (block.name !== undefined) said.tools += `${block.name}`
        blocks += 1
        break
      }
      case 'content_block_delta': {
        const delta = event['delta'] as { type: string; text?: string; thinking?: string; partial_json?: string }
        demand(open !== null && event.index === blocks - 1, 'a delta outside its block')
        demand(delta.type !== 'text_delta' || open === 'text', `text in a block of ${open}`)
        said.text += delta.text ?? ''
        said.reasoning += delta.thinking ?? ''
        said.tools += delta.partial_json ?? ''
        break
      }
      case 'content_block_stop':
        demand(open !== null && event.index === blocks - 1, 'a block ends that is not open')
        open = null
        break
      case 'message_delta':
        demand(open === null, 'ends inside a block')
        said.finishes.push((event['delta'] as { stop_reason: string }).stop_reason)
        said.usages.push(event['usage'])
        if (event['turnpike'] !== undefined) said.notes.push(event['turnpike'])
        break
      case 'message_stop':
        said.terminators += 1
        ended = true
        break
      default:
        throw new Error(`unknown event ${event.type}`)
    }
  })
  return said
}

function eachEvent(bytes: string, read: (data: string, name: string) => void): void {
  const parser = createParser({ onEvent: ({ data, event }) => read(data, event ?? '') })
  parser.feed(bytes)
}

/** A stream of OpenAI's as a provider sends it: `texts` one by one, then whatever else. */
export function openaiStream(texts: readonly string[], options: { usage?: object; finish?: string; id?: string } = {}): Buffer[] {
  const { usage, finish = 'stop', id = 'other' } = options
  const head = { id, object: 'chat.completion.chunk', created: 7, model: 'up', system_fingerprint: 'fp_other' }
  const chunk = (delta: object, reason: string | null = null) =>
    event({ ...head, choices: [{ index: 0, delta, finish_reason: reason }] })
  return [
    chunk({ role: 'assistant', content: '' }),
    ...texts.map((content) => chunk({ content })),
    chunk({}, finish),
    ...(usage === undefined ? [] : [event({ ...head, choices: [], usage })]),
    Buffer.from('data: [DONE]\n\n'),
  ]
}

export function event(data: object): Buffer {
  return Buffer.from(`data: ${JSON.stringify(data)}\n\n`)
}

/** One of Anthropic's. */
export function anthropicStream(texts: readonly string[], usage = { input_tokens: 30, output_tokens: 20 }): Buffer[] {
  const said = (type: string, fields: object) => Buffer.from(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`)
  const { input_tokens: input, output_tokens: output } = usage
  return [
    said('message_start', {
      message: {
        id: 'msg_other',
        type: 'message',
        role: 'assistant',
        model: 'up',
        content: [],
        usage: { input_tokens: input, output_tokens: 1 },
      },
    }),
    said('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
    ...texts.map((text) => said('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })),
    said('content_block_stop', { index: 0 }),
    said('message_delta', { delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: output } }),
    said('message_stop', {}),
  ]
}

/** Text in pieces of `size`. */
export function cut(text: string, size: number): string[] {
  return Array.from({ length: Math.ceil(text.length / size) }, (_, index) => text.slice(index * size, (index + 1) * size))
}
