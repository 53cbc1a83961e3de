import { describe, expect, it } from 'vitest'
import { GatewayError, toGatewayError } from '../shared/errors.ts'
import { fold } from './dialects/openai-responses/grammar.testkit.ts'
import { decodeRequest } from './dialects/openai-responses/request.ts'
import { forwardResponseObject, forwardResponses, ResponsesPassThrough, type Restamp } from './pass-through-responses.ts'
import { target } from './providers/anthropic/encode.testkit.ts'
import { providerOf } from './providers/index.ts'
import type { Provider } from './providers/provider.ts'
import { allRecordings, haveRecordings } from './providers/responses/recordings.testkit.ts'
import type { ResponsesTurn } from './responses/turn.ts'
import type { Route } from './runtime.ts'

type Fields = Record<string, unknown>

const openai = providerOf('openai') as Provider
const groq = providerOf('groq') as Provider
const HELLO = { model: 'alias', input: 'Hello' }
const AT = { model: 'gpt-5', base: 'https://api.openai.com/v1' }

const turn: ResponsesTurn = {
  previousId: 'resp_before',
  replaced: {},
  input: [],
  background: false,
  whole: true,
  idOf: (_, id) => `ours_${id}`,
  narrow: (resolution) => resolution,
  demand: () => undefined,
  keep: () => null,
}
const stamp: Restamp = { model: 'alias', readError: openai.decodeError, route: {} as Route, turn }

/** The body the provider gets; `changes` is what the gateway makes of the canonical request. */
function forwarded(text: string, changes: Fields = {}, provider = openai, replaced: Fields = {}): string {
  const parsed = JSON.parse(text) as Fields
  const decoded = decodeRequest(parsed)
  const request = Object.keys(changes).length === 0 ? decoded : { ...decoded, ...changes }
  const adapter = provider.responses as NonNullable<Provider['responses']>
  const call = { raw: Buffer.from(text), parsed, decoded, responses: { ...turn, replaced } }
  const upstream = forwardResponses(call, adapter, request, target(AT))
  expect(upstream.url).toMatch(/\/v1\/responses$/)
  return Buffer.from(upstream.body).toString('utf8')
}

describe('a request between a Responses client and a provider of the protocol', () => {
  it('keeps every byte but the model name', () => {
    const text = '{ "model":"alias", "input":"\\u00e9 1.0", "metadata":{"a":"b"}, "tools":[{"type":"mcp"}], "novel": 1.50 }'
    expect(forwarded(text)).toBe(text.replace('"alias"', '"gpt-5"'))
  })

  it('leaves out what speaks to the gateway', () => {
    const text = JSON.stringify({ ...HELLO, tags: ['a'], num_retries: 2, litellm_metadata: { tags: ['b'] } })
    expect(JSON.parse(forwarded(text))).toEqual({ ...HELLO, model: 'gpt-5' })
  })

  it('gets what the deployment stands in with and overrides, under the protocol’s names', () => {
    const text = JSON.stringify({ ...HELLO, temperature: 0.2 })
    expect(JSON.parse(forwarded(text, { temperature: 0.5, max_tokens: 7, novel: true }))).toEqual({
      ...HELLO,
      model: 'gpt-5',
      temperature: 0.5,
      max_output_tokens: 7,
      novel: true,
    })
  })

  it('is made anew from the chat where that was changed', () => {
    const sent = JSON.parse(forwarded(JSON.stringify(HELLO), { messages: [{ role: 'user', content: 'other' }] })) as Fields
    expect(sent).toMatchObject({ model: 'gpt-5', input: [{ role: 'user', content: 'other' }] })
  })

  it('names a response as its provider knows it, or holds its items instead', () => {
    const text = JSON.stringify({ ...HELLO, previous_response_id: 'resp_ours' })
    expect(JSON.parse(forwarded(text, {}, openai, { previous_response_id: 'resp_theirs' }))).toEqual({
      ...HELLO,
      model: 'gpt-5',
      previous_response_id: 'resp_theirs',
    })
    const input = [{ role: 'user', content: 'all of it' }]
    expect(JSON.parse(forwarded(text, {}, openai, { previous_response_id: undefined, input }))).toEqual({ model: 'gpt-5', input })
  })

  it('asks a provider that keeps nothing to keep nothing', () => {
    const text = JSON.stringify({ ...HELLO, store: true, previous_response_id: 'resp_ours' })
    expect(JSON.parse(forwarded(text, {}, groq))).toEqual({ ...HELLO, model: 'gpt-5', store: false })
  })
})

describe('a whole answer', () => {
  const response = { id: 'resp_1', object: 'response', status: 'completed', model: 'gpt-5-2026', output: [], error: null }
  const read = (body: object) => forwardResponseObject(Buffer.from(JSON.stringify(body)), stamp)

  it('has its names restamped, and everything else byte by byte', () => {
    const text = '{"id":"resp_1", "model":"gpt-5-2026","output":[ ],"previous_response_id":"resp_0","novel":1.50}'
    const answer = forwardResponseObject(Buffer.from(text), stamp)
    expect(Buffer.from(answer.body).toString()).toBe(
      '{"id":"ours_resp_1","model":"alias","output":[ ],"previous_response_id":"resp_before","novel":1.50}',
    )
    expect(answer.reportedModel).toBe('gpt-5-2026')
  })

  it('that failed is the error it holds', () => {
    const failed = { ...response, status: 'failed', error: { code: 'rate_limit_exceeded', message: 'slow down' } }
    expect(() => read(failed)).toThrow(expect.objectContaining({ status: 429, message: expect.stringContaining('slow down') }))
    expect(() => read({ error: { message: 'no' } })).toThrow(GatewayError)
  })

  it('that only begins is not billed yet, and tells under which name it runs on', () => {
    const begun = read({ ...response, id: 'resp_theirs', status: 'queued', usage: null })
    expect(begun).toMatchObject({ running: 'resp_theirs', usage: { estimated: false, input: 0, output: 0 } })
    expect(read({ ...response, usage: null })).toMatchObject({ running: null, usage: { estimated: true } })
  })
})

/** Sizes from a seed, 1 to 64 bytes. */
function random(seed: number): number[] {
  const sizes: number[] = []
  let state = seed
  for (let index = 0; index < 101; index++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    sizes.push(1 + ((state >>> 16) % 64))
  }
  return sizes
}

function relayed(stream: string, sizes: readonly number[]) {
  const reader = new ResponsesPassThrough(stamp)
  const bytes = Buffer.from(stream)
  let text = ''
  let error: GatewayError | null = null
  try {
    for (let at = 0, piece = 0; at < bytes.length && !reader.done; piece += 1) {
      const size = sizes[piece % sizes.length] as number
      text += Buffer.from(reader.push(bytes.subarray(at, at + size))).toString()
      at += size
    }
    text += Buffer.from(reader.finish()).toString() + reader.last()
  } catch (thrown) {
    error = toGatewayError(thrown)
    text += reader.errorEvent(error)
  }
  return { text, error, usage: reader.usage(), model: reader.reportedModel }
}

describe.skipIf(!haveRecordings())('recordings of the Responses API', () => {
  const recorded = allRecordings()
  const streams = recorded.filter(({ stream, status }) => stream !== null && status === 200)
  const bodies = recorded.filter(({ body, status }) => body !== null && status === 200 && body.includes('"output"'))

  it('are there', () => {
    expect(streams.length).toBeGreaterThanOrEqual(15)
    expect(bodies.length).toBeGreaterThanOrEqual(20)
  })

  it.each(streams.map(({ name, stream }) => [name, stream as string]))(
    'pass whole, however they are cut, and only names are changed: %s',
    (_, stream) => {
      const whole = relayed(stream, [stream.length])
      const before = events(stream)
      const after = events(whole.text)
      expect(after.map(({ type }) => type)).toEqual(before.map(({ type }) => type))
      for (const [index, event] of after.entries()) {
        const original = before[index] as Fields
        const { response, ...rest } = event
        const { response: first, ...others } = original
        expect(rest).toEqual(others)
        if (first === undefined) continue
        const stamped: Fields = { ...(first as Fields), id: `ours_${(first as Fields)['id']}`, model: 'alias' }
        if ('previous_response_id' in stamped) stamped['previous_response_id'] = 'resp_before'
        expect(response).toEqual(stamped)
      }
      if (whole.error === null) {
        if (isSound(stream)) expect(fold(whole.text).end).toMatch(/^(completed|incomplete)$/)
        expect(whole.usage.estimated).toBe(false)
        expect(whole.usage.output).toBeGreaterThan(0)
      }
      for (const seed of [1, 2, 3]) expect(relayed(stream, random(seed))).toEqual(whole)
      expect(relayed(stream, [1])).toEqual(whole)
    },
  )

  it.each(streams.map(({ name, stream }) => [name, stream as string]))(
    'never end well when they are cut off: %s',
    (_, stream) => {
      for (const part of [0.3, 0.6, 0.9]) {
        const end = stream.lastIndexOf('\n\n', Math.floor(stream.length * part)) + 2
        const cut = relayed(stream.slice(0, end), [97])
        expect(cut.error).not.toBeNull()
        expect(fold(cut.text).end).toMatch(/^(failed|error)$/)
      }
    },
  )

  it.each(bodies.map(({ name, body }) => [name, body as string]))('keep what they say, and are billed: %s', (_, body) => {
    const response = JSON.parse(body) as Fields
    if (response['object'] !== 'response' || response['status'] === 'queued') return
    const answer = forwardResponseObject(Buffer.from(body), stamp)
    const stamped: Fields = { ...response, id: `ours_${response['id']}`, model: 'alias' }
    if ('previous_response_id' in stamped) stamped['previous_response_id'] = 'resp_before'
    expect(JSON.parse(Buffer.from(answer.body).toString())).toEqual(stamped)
    const counted = response['usage'] as Fields | undefined
    if (counted) expect(answer.usage).toMatchObject({ input: counted['input_tokens'], output: counted['output_tokens'] })
  })
})

/** OpenRouter gives an item another id at its end. */
function isSound(stream: string): boolean {
  try {
    fold(stream)
    return true
  } catch {
    return false
  }
}

function events(stream: string): Fields[] {
  return stream
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)) as Fields)
}
