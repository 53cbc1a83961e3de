import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../shared/errors.ts'
import { forwardBody, forwardRequest, forwardResponse, PassThroughStream } from './pass-through.ts'
import { openai } from './providers/openai.ts'
import { PLAIN_TARGET } from './providers/plain-target.ts'
import type { Target } from './providers/provider.ts'

const readError = (status: number, _headers: object, body: string) =>
  new GatewayError('provider_error', body, { status: status === 200 ? 500 : status })
const bytes = (text: string) => Buffer.from(text)
const text = (out: Uint8Array) => Buffer.from(out).toString('utf8')

describe('a forwarded request body', () => {
  it('holds the same object but for the changes, for any object and any changes', () => {
    const name = fc
      .oneof(fc.constantFrom('model', 'stream', 'a', 'b'), fc.string({ unit: 'binary', maxLength: 4 }))
      .filter((key) => key !== '__proto__')
    fc.assert(
      fc.property(
        fc.dictionary(name, fc.jsonValue()),
        fc.dictionary(name, fc.jsonValue()),
        fc.array(name),
        fc.constantFrom(undefined, 2),
        (object, set, remove, indent) => {
          const raw = bytes(JSON.stringify(object, null, indent))
          const parsed = JSON.parse(raw.toString()) as Record<string, unknown>
          const shaped = { ...parsed, ...set }
          for (const key of remove) delete shaped[key]
          expect(JSON.parse(text(forwardBody(raw, parsed, shaped)))).toEqual(JSON.parse(JSON.stringify(shaped)))
        },
      ),
    )
  })

  it('leaves the bytes of what did not change as they were written', () => {
    const raw = bytes(
      '{ "temperature": 1.0, "model":"alias", "messages": [ {"content":"\\u00e9"} ],"seed":12345678901234567890 }',
    )
    const parsed = JSON.parse(raw.toString())
    expect(text(forwardBody(raw, parsed, { ...parsed, model: 'up' }))).toBe(
      '{ "temperature": 1.0, "model":"up", "messages": [ {"content":"\\u00e9"} ],"seed":12345678901234567890 }',
    )
    expect(text(forwardBody(raw, parsed, { ...parsed, model: 'up', stream: true }))).toBe(
      '{"temperature": 1.0,"model":"up","messages": [ {"content":"\\u00e9"} ],"seed":12345678901234567890,"stream":true}',
    )
  })

  it('leaves no second member of a name for another reader to find', () => {
    const raw = bytes('{"model":"a","x":1,"model":"b","x":2}')
    const out = text(forwardBody(raw, JSON.parse(raw.toString()), { model: 'up', x: 2 }))
    expect(out.match(/"model"/g)).toHaveLength(1)
    expect(out.match(/"x"/g)).toHaveLength(1)
    expect(JSON.parse(out)).toEqual({ model: 'up', x: 2 })
  })

  it('may begin with a byte order mark, and may have its model from elsewhere', () => {
    expect(JSON.parse(text(forwardBody(bytes('\uFEFF{"a":1}'), { a: 1 }, { a: 1, model: 'up' })))).toEqual({ a: 1, model: 'up' })
    expect(JSON.parse(text(forwardBody(bytes('{"model":"body"}'), { model: 'path' }, { model: 'path' })))).toEqual({
      model: 'path',
    })
    expect(text(forwardBody(bytes('{"a":1}'), { a: 1 }, {}))).toBe('{}')
  })

  it('is what the adapter would have sent', () => {
    const { chat } = openai('openai', { protocol: 'openai', base: null, keys: [], reasoningModels: true, strictMessages: true })
    if (chat === undefined) throw new Error('no chat')
    const target: Target = {
      ...PLAIN_TARGET,
      provider: 'openai',
      model: 'gpt-5',
      base: 'http://h/v1',
    }
    const request = {
      model: 'alias',
      messages: [{ role: 'user', content: [{ type: 'text', text: 'é', cache_control: { type: 'ephemeral' as const } }] }],
      stream: true,
      max_tokens: 5,
      metadata: { tags: ['x'] },
    }
    const forwarded = forwardRequest(chat, bytes(JSON.stringify(request)), request, request, target)
    const encoded = chat.encodeRequest(request, target)
    expect({ ...forwarded, body: JSON.parse(text(forwarded.body as Uint8Array)) }).toEqual({
      ...encoded,
      body: JSON.parse(encoded.body as string),
    })
  })
})

describe('a forwarded answer', () => {
  it('has its model restamped and its usage read', () => {
    const body = bytes(
      '{"id":"x","model":"up-2024", "choices":[{"message":{"content":"\\"model\\":\\"no\\""}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}',
    )
    const { body: out, usage, reportedModel } = forwardResponse(body, 'my "alias"', readError)
    expect(text(out)).toBe(body.toString().replace('"up-2024"', '"my \\"alias\\""'))
    expect(usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 4 })
    expect(reportedModel).toBe('up-2024')
  })

  it('may be a list of embeddings, and may lack usage', () => {
    expect(forwardResponse(bytes('{"data":[{"embedding":[0.1]}]}'), 'a', readError)).toMatchObject({
      usage: null,
      reportedModel: null,
    })
  })

  it('is refused when it is an error or no answer', () => {
    expect(() => forwardResponse(bytes('{"error":{"message":"inside"}}'), 'a', readError)).toThrow('inside')
    for (const body of ['', '{}', '{"choices":null}', '<html>', '{"choices":[']) {
      expect(() => forwardResponse(bytes(body), 'a', readError)).toThrow(GatewayError)
    }
  })
})

const frame = (delta: object, more = '', reason = 'null') =>
  `data: {"id":"c","model":"up","choices":[{"index":0,"delta":${JSON.stringify(delta)},"finish_reason":${reason}}]${more}}\n\n`
const USAGE = '"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}'
const DONE = 'data: [DONE]\n\n'

function relay(input: string | string[], options: { includeUsage?: boolean; choices?: number } = {}) {
  const stream = new PassThroughStream({
    model: 'alias',
    includeUsage: options.includeUsage ?? false,
    choices: options.choices ?? 1,
    readError,
  })
  const parts = (Array.isArray(input) ? input : [input]).map((piece) => text(stream.push(bytes(piece))))
  return { stream, out: parts.join(''), finish: () => text(stream.finish()) }
}

describe('a stream passing through', () => {
  it('is relayed to the byte but for the model name', () => {
    const input = frame({ role: 'assistant', content: '' }) + frame({ content: 'Grüße "model":"up"' }) + frame({}, '', '"stop"')
    const { out, stream } = relay(input + DONE)
    expect(out).toBe(input.replaceAll('"model":"up","choices', '"model":"alias","choices'))
    expect(stream).toMatchObject({ done: true, deltas: 1, firstToken: true, reportedModel: 'up', usage: null })
    expect(stream.last()).toBe(DONE)
    expect([...stream.finishReasons]).toEqual([[0, 'stop']])
  })

  it('loses its usage, read on the way, unless the client asked for it', () => {
    const input =
      frame({ content: 'a' }, ',"usage":null') +
      frame({}, '', '"stop"') +
      `data: {"id":"c","model":"up","choices":[],${USAGE}}\n\n`
    const silent = relay(input + DONE)
    expect(silent.out).toBe(
      frame({ content: 'a' }).replace('"up"', '"alias"') + frame({}, '', '"stop"').replace('"up"', '"alias"'),
    )
    expect(silent.stream.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 2 })
    expect(relay(input + DONE, { includeUsage: true }).out).toBe(input.replaceAll('"model":"up"', '"model":"alias"'))
  })

  it.each([
    [`data: {${USAGE},"model":"up","choices":[{"index":0}]}\n\n`, 'data: {"model":"alias","choices":[{"index":0}]}\n\n'],
    [`data: {"model":"up",${USAGE},"choices":[{"index":0}]}\n\n`, 'data: {"model":"alias","choices":[{"index":0}]}\n\n'],
    [`data: {"model":"up", "choices":[{"index":0}], ${USAGE} }\n\n`, 'data: {"model":"alias", "choices":[{"index":0}] }\n\n'],
    [`data:{${USAGE},"choices":[{"index":0}]}\r\n\r\n`, 'data:{"choices":[{"index":0}]}\r\n\r\n'],
  ])('has usage cut out wherever it stands: %j', (input, output) => {
    const { out, stream } = relay(input + DONE)
    expect(out).toBe(output)
    expect(stream.usage?.total_tokens).toBe(5)
  })

  it('has its output counted by kind: text, tools, thinking, refusals, completions; not roles or empty text', () => {
    const said = [
      { content: 'a' },
      { tool_calls: [{ index: 0, function: { arguments: '{"x"' } }] },
      { reasoning_content: 'r' },
      { refusal: 'no' },
    ]
    const unsaid = [
      { role: 'assistant', content: '' },
      { content: null },
      { tool_calls: [{ index: 0, function: { arguments: '' } }] },
      {},
    ]
    for (const delta of said) expect(relay(frame(delta)).stream.deltas, JSON.stringify(delta)).toBe(1)
    for (const delta of unsaid) expect(relay(frame(delta)).stream.deltas, JSON.stringify(delta)).toBe(0)
    expect(relay('data: {"choices":[{"text":"hello","index":0}]}\n\n').stream).toMatchObject({ deltas: 1, outputBytes: 5 })
  })

  it('keeps comments, joins split data lines and takes any line ending', () => {
    expect(relay(`: keep-alive\n\n${frame({ content: 'a' }).replace('"up"', '"alias"')}`).out).toBe(
      `: keep-alive\n\n${frame({ content: 'a' }).replace('"up"', '"alias"')}`,
    )
    const split = 'data: {"model":"up",\ndata: "choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    expect(JSON.parse(relay(split).out.slice(6))).toMatchObject({ model: 'alias', choices: [{ delta: { content: 'a' } }] })
    const carriage = frame({ content: 'a' }).replace('\n\n', '\r\n\r\n')
    expect(relay(`id: 1\r\n${carriage}`).stream.deltas).toBe(1)
    expect(relay(carriage).out).toBe(carriage.replace('"up"', '"alias"'))
  })

  it('holds its opening until the model speaks: until then another deployment may be tried', () => {
    const { stream, out } = relay([frame({ role: 'assistant', content: '' }), ': waiting\n\n'])
    const spoken = [frame({ content: 'a' }), frame({ content: 'b' })].map((piece) => text(stream.push(bytes(piece))))
    expect(out).toBe('')
    const shown = (delta: object): string => frame(delta).replace('"up"', '"alias"')
    expect(spoken).toEqual([
      `${shown({ role: 'assistant', content: '' })}: waiting\n\n${shown({ content: 'a' })}`,
      shown({ content: 'b' }),
    ])
  })

  it('holds no more than a few chunks of a model whose words have a name of their own', () => {
    const chunk = frame({ audio: 'x' })
    const few = Array.from({ length: 40 }, () => chunk)
    const { out } = relay(few)
    expect(out).toBe(few.join('').replaceAll('"up"', '"alias"'))
    expect(relay(few.slice(0, 5)).out).toBe('')
  })

  it('ends when the model is looping', () => {
    const looping = (count: number, word: string) => relay(Array.from({ length: count }, () => frame({ content: word })))
    expect(() => looping(100, 'again')).toThrow('looping')
    expect(looping(99, 'again').stream.deltas).toBe(99)
    expect(looping(300, '\n').stream.deltas).toBe(300)
  })

  it('reads spaced JSON as well', () => {
    const spaced =
      'data: {"model" : "up", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}], "usage" : null}\n\n'
    const { out, stream } = relay(spaced)
    expect(out).toBe(
      'data: {"model" : "alias", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n',
    )
    expect(stream.deltas).toBe(1)
    expect(stream.finishReasons.get(0)).toBe('stop')
  })

  it('gets its terminator when the provider closes without one', () => {
    const { stream, finish } = relay(frame({ content: 'a' }) + frame({}, '', '"stop"').trimEnd())
    expect(finish()).toContain('"finish_reason":"stop"')
    expect(stream.done).toBe(true)
    expect(stream.last()).toBe(DONE)
  })

  it('is truncated when it closes before every choice finished', () => {
    expect(() => relay(frame({ content: 'a' })).finish()).toThrow(GatewayError)
    expect(() => relay('').finish()).toThrow(GatewayError)
    expect(() => relay(frame({}, '', '"stop"'), { choices: 2 }).finish()).toThrow(GatewayError)
    expect(() => relay(DONE)).toThrow(GatewayError)
    expect(() => relay('data: {"model":"up","choi').finish()).toThrow(GatewayError)
  })

  it('fails with the error it holds', () => {
    expect(() => relay('data: {"error":{"message":"inside"}}\n\n')).toThrow('inside')
    expect(() => relay('event: error\ndata: {"error":{"message":"event"}}\n\n')).toThrow('event')
    expect(() => relay('data: {oops\n\n')).toThrow(GatewayError)
    expect(relay(frame({ content: 'a' }, ',"error":null')).stream.deltas).toBe(1)
  })

  it('ignores what follows the terminator', () => {
    const { out, stream, finish } = relay([frame({}, '', '"stop"') + DONE + frame({ content: 'late' }), 'data: {"error":{}}\n\n'])
    expect(out).not.toContain('late')
    expect(stream.done).toBe(true)
    expect(finish()).toBe('')
  })

  it('gives out memory of its own, so that the socket’s may be used again', () => {
    const stream = new PassThroughStream({ model: 'alias', includeUsage: false, choices: 1, readError })
    const input = bytes(frame({ content: 'a' }))
    const out = stream.push(input)
    const before = text(out)
    input.fill(0)
    expect(text(out)).toBe(before)
  })
})
