import { describe, expect, it } from 'vitest'
import { GatewayError } from '../shared/errors.ts'
import { fold } from './dialects/anthropic/grammar.testkit.ts'
import { decodeRequest } from './dialects/anthropic/request.ts'
import { forwardMessage, forwardMessages, MessagesPassThrough } from './pass-through-anthropic.ts'
import { target } from './providers/anthropic/encode.testkit.ts'
import { decodeError } from './providers/anthropic/errors.ts'
import { fileNames, framed, haveRecordings, recordings } from './providers/anthropic/recordings.testkit.ts'
import { encodeRequest, wrapBody } from './providers/anthropic/request.ts'

type Fields = Record<string, unknown>

const adapter = { encodeRequest, wrap: wrapBody }
const HELLO = { model: 'alias', max_tokens: 10, messages: [{ role: 'user', content: 'Hello' }] }

/** The body the provider gets; `changes` is what the gateway makes of the canonical request. */
function forwarded(text: string, changes: Fields = {}, at: Parameters<typeof target>[0] = {}) {
  const parsed = JSON.parse(text) as Fields
  const decoded = decodeRequest(parsed)
  const request = Object.keys(changes).length === 0 ? decoded : { ...decoded, ...changes }
  const upstream = forwardMessages({ raw: Buffer.from(text), parsed, decoded }, adapter, request, target(at))
  return { ...upstream, text: Buffer.from(upstream.body as Uint8Array).toString('utf8') }
}

describe('a request between an Anthropic client and an Anthropic provider', () => {
  it('keeps every byte but the model name', () => {
    const text = '{ "model":"alias", "max_tokens" : 10, "messages":[{"role":"user","content":"\\u00e9 1.0"}], "novel": 1.50 }'
    expect(forwarded(text).text).toBe(text.replace('"alias"', '"claude-sonnet-4-5"'))
  })

  it('leaves out what speaks to the gateway, and keeps what the API knows of metadata', () => {
    const text = JSON.stringify({ ...HELLO, user: 'u', tags: ['a'], num_retries: 2, metadata: { user_id: 'u', tags: ['b'] } })
    expect(JSON.parse(forwarded(text).text)).toEqual({ ...HELLO, model: 'claude-sonnet-4-5', metadata: { user_id: 'u' } })
  })

  it('says betas and version in headers, wherever the client put them', () => {
    const text = JSON.stringify({ ...HELLO, betas: ['b1'] })
    const sent = forwarded(text, {}, { clientHeaders: { 'anthropic-beta': 'b2' } })
    expect(sent.headers).toMatchObject({ 'anthropic-beta': 'b1,b2', 'anthropic-version': '2023-06-01' })
    expect(JSON.parse(sent.text)).not.toHaveProperty('betas')
  })

  it('gets what the deployment stands in with and overrides, in place', () => {
    const text = JSON.stringify({ ...HELLO, temperature: 0.2 })
    expect(JSON.parse(forwarded(text, { temperature: 0.5, top_k: 4, tags: ['x'] }).text)).toEqual({
      ...HELLO,
      model: 'claude-sonnet-4-5',
      temperature: 0.5,
      top_k: 4,
    })
  })

  it('is translated where a change has no words of the client’s', () => {
    const sent = JSON.parse(forwarded(JSON.stringify({ ...HELLO, novel: 1 }), { stop: ['END'] }).text) as Fields
    expect(sent).toMatchObject({ stop_sequences: ['END'], novel: 1, max_tokens: 10 })
    expect(sent).not.toHaveProperty('stop')
  })

  it('is translated where it holds thinking of another provider, which the API would refuse', () => {
    const thinking = [
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'x', signature: '' },
          { type: 'text', text: 'y' },
        ],
      },
    ]
    const sent = forwarded(JSON.stringify({ ...HELLO, messages: [...HELLO.messages, ...thinking] }))
    expect(sent.text).not.toContain('thinking')
  })

  it('honours what the operator drops', () => {
    const sent = forwarded(JSON.stringify({ ...HELLO, top_k: 1 }), {}, { additionalDropParams: ['top_k'] })
    expect(JSON.parse(sent.text)).not.toHaveProperty('top_k')
  })
})

const readError = decodeError

describe('a whole answer', () => {
  it('keeps every byte but the model name, and its usage is read', () => {
    const text =
      '{"id":"msg_1","type":"message","model":"claude-x", "content":[ {"type":"novel"} ],"usage":{"input_tokens":3,"output_tokens":4,"cache_read_input_tokens":5}}'
    const { body, usage, reportedModel } = forwardMessage(Buffer.from(text), 'alias', readError)
    expect(Buffer.from(body).toString()).toBe(text.replace('claude-x', 'alias'))
    expect(reportedModel).toBe('claude-x')
    expect(usage).toMatchObject({ input: 8, output: 4, cacheRead: 5, estimated: false })
  })

  it('without usage says so', () => {
    expect(forwardMessage(Buffer.from('{"content":[]}'), 'alias', readError).usage).toBeNull()
  })

  it.each([
    ['<html>', 'provider_malformed'],
    ['{"id":1}', 'provider_malformed'],
    ['{"type":"error","error":{"type":"overloaded_error","message":"busy"}}', 'provider_overloaded'],
  ])('that is none is an error: %s', (text, code) => {
    expect(() => forwardMessage(Buffer.from(text), 'alias', readError)).toThrow(expect.objectContaining({ code }))
  })
})

const START = {
  type: 'message_start',
  message: {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'claude-x',
    content: [],
    usage: { input_tokens: 9, output_tokens: 1 },
  },
}
const open = (index: number, content_block: Fields) => ({ type: 'content_block_start', index, content_block })
const delta = (index: number, fields: Fields) => ({ type: 'content_block_delta', index, delta: fields })
const close = (index: number) => ({ type: 'content_block_stop', index })
const text = (index: number, piece: string) => delta(index, { type: 'text_delta', text: piece })
const END = { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: 12 } }
const STOP = { type: 'message_stop' }
const HELD = [START, { type: 'ping' }]
const ANSWER = [...HELD, open(0, { type: 'text', text: '' }), text(0, 'Hel'), text(0, 'lo'), close(0), END, STOP]

const reader = (keepText = false) => new MessagesPassThrough({ model: 'alias', readError, keepText })
const bytes = (events: readonly object[]) => Buffer.from(framed(events))
const string = (piece: Uint8Array) => Buffer.from(piece).toString('utf8')
function caught(run: () => void): GatewayError {
  try {
    run()
  } catch (thrown) {
    if (thrown instanceof GatewayError) return thrown
    throw thrown
  }
  throw new Error('nothing was thrown')
}

describe('a stream between an Anthropic client and an Anthropic provider', () => {
  it('is relayed event by event, the model restamped, its end kept back', () => {
    const stream = reader()
    const relayed = string(stream.push(bytes(ANSWER)))
    expect(relayed).toBe(framed(ANSWER.slice(0, -1)).replace('claude-x', 'alias'))
    expect(stream.done).toBe(true)
    expect(fold(relayed + stream.last())).toMatchObject({ blocks: [{ text: 'Hello' }], end: 'stop' })
    expect(stream.usage()).toMatchObject({ input: 9, output: 12, estimated: false })
    expect(stream.reportedModel).toBe('claude-x')
    expect(string(stream.finish())).toBe('')
  })

  it('begins with its first block: an error before it may still be met by another deployment', () => {
    const stream = reader()
    expect(stream.push(bytes(HELD)).length).toBe(0)
    const error = caught(() => stream.push(bytes([{ type: 'error', error: { type: 'overloaded_error', message: 'busy' } }])))
    expect(error.code).toBe('provider_overloaded')
    expect(stream.firstToken).toBe(false)
  })

  it('names events for servers that do not', () => {
    const stream = reader()
    const bare = ANSWER.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')
    expect(fold(string(stream.push(Buffer.from(bare))) + stream.last())).toMatchObject({
      blocks: [{ text: 'Hello' }],
      end: 'stop',
    })
  })

  it.each([
    ['nothing', [], 0],
    ['a start', HELD, 1],
    ['half an answer', ANSWER.slice(0, 4), 1],
    ['everything but its terminator', ANSWER.slice(0, -1), 12],
  ])('is not complete after %s', (_name, events, output) => {
    const stream = reader()
    stream.push(bytes(events))
    expect(caught(() => stream.finish()).code).toBe(events.length === 0 ? 'provider_malformed' : 'provider_truncated')
    expect(stream.usage().output).toBe(output)
  })

  it('is billed for the input it told of and about what went by, when it breaks off', () => {
    const stream = reader()
    stream.push(bytes([...ANSWER.slice(0, 4), text(0, 'x'.repeat(397))]))
    expect(stream.usage()).toMatchObject({ input: 9, output: 100, estimated: true })
    expect(stream.outputTokens).toBe(100)
  })

  it('is broken by what is not JSON, and what came before reaches the client with the error', () => {
    const stream = reader()
    const error = caught(() => stream.push(Buffer.concat([bytes(ANSWER.slice(0, 4)), Buffer.from('event: x\ndata: {oops\n\n')])))
    expect(error.code).toBe('provider_malformed')
    expect(fold(stream.errorEvent(error))).toMatchObject({
      blocks: [{ text: 'Hel' }],
      end: 'error',
      error: { type: 'api_error' },
    })
  })

  it('goes on elsewhere from its text, when it was nothing but text and thinking', () => {
    const stream = reader(true)
    stream.push(
      bytes([
        ...HELD,
        open(0, { type: 'thinking', thinking: '', signature: '' }),
        delta(0, { type: 'thinking_delta', thinking: 'hm' }),
        close(0),
        open(1, { type: 'text', text: '' }),
        text(1, 'Hel'),
      ]),
    )
    expect(stream.continuation()).toEqual({
      text: 'Hel',
      reasoning: true,
      envelope: { id: 'msg_1', created: 0, fingerprint: null },
      encoder: null,
      point: { begun: true, blocks: 2, open: 'text' },
      pending: '',
    })
  })

  it.each([
    ['a call', [open(1, { type: 'tool_use', id: 'a', name: 'f', input: {} })]],
    ['what a server tool did', [open(1, { type: 'server_tool_use', id: 'a', name: 'web_search', input: {} })]],
    ['its stop reason', [END]],
  ])('goes on nowhere after %s', (_name, events) => {
    const stream = reader(true)
    stream.push(bytes([...ANSWER.slice(0, 6), ...events]))
    expect(stream.continuation()).toBeNull()
    expect(reader(false).continuation()).toBeNull()
  })
})

describe.skipIf(!haveRecordings())('recorded streams', () => {
  const recorded = fileNames('anthropic')
    .flatMap((file) => recordings('anthropic', file))
    .filter(({ stream }) => stream !== null)

  it('are there', () => {
    expect(recorded.length).toBeGreaterThanOrEqual(20)
  })

  for (const [index, { file, stream }] of recorded.entries()) {
    it(`pass whole, however they are cut: ${file} (${index})`, () => {
      const source = Buffer.from(stream as string)
      const before = fold(stream as string)
      for (const size of [source.length, 1, 7, 100]) {
        const through = reader(true)
        let relayed = ''
        for (let at = 0; at < source.length; at += size) relayed += string(through.push(source.subarray(at, at + size)))
        relayed += string(through.finish())
        const after = fold(relayed + through.last())
        expect(after).toEqual({ ...before, message: { ...before.message, model: 'alias' } })
        expect(through.usage().output).toBe(before.usage['output_tokens'])
      }
    })
  }
})
