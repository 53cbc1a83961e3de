import { describe, expect, it } from 'vitest'
import { NO_TOKENS } from '../../proto/usage.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Capture } from '../call.ts'
import type { ChatChunk } from '../canonical/chat.ts'
import {
  anthropicStream,
  callOf,
  cut,
  event,
  openaiStream,
  type Played,
  play,
  readAnthropic,
  readOpenAI,
  resumeAfter,
  routeTo,
} from './failover.testkit.ts'
import { addUsage, brokenOff } from './resume.ts'
import { failsOver } from './safety.ts'

const TEXT = 'Grüße, "world"! The quick brown fox jumps over the lazy dog, and \\n is no line break. 🙂 The end.'
const openai = (id: string) => routeTo('openai', id)
const groq = (id: string) => routeTo('groq', id)
const USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }

/** The stream of `text` up to where `count` characters are out, in pieces of five. */
function beginning(text: string, count: number, id = 'first'): Buffer[] {
  return openaiStream(cut(text.slice(0, count), 5), { id }).slice(0, -2)
}

describe('an answer that breaks off twice', () => {
  it.each([
    ['passing through', openai],
    ['translated', groq],
  ])('is told as one: %s', (_name, first) => {
    const call = callOf('openai-chat', {})
    const one = play(call, first('a'), beginning(TEXT, 20))
    expect(resumeAfter(call, one, first('a'))).toBe(true)
    const two = play(call, groq('b'), beginning(TEXT.slice(20), 30, 'second'))
    expect(resumeAfter(call, two, groq('b'))).toBe(true)
    expect(call.resume?.text).toBe(TEXT.slice(0, 50))
    const three = play(call, openai('c'), openaiStream(cut(TEXT.slice(50), 4), { usage: USAGE }))
    const said = readOpenAI(one.bytes + two.bytes + three.bytes + three.reader.last())
    expect(said).toMatchObject({ text: TEXT, roles: 1, finishes: ['stop'], terminators: 1 })
    expect([...said.ids]).toEqual(['alias first 7 fp_other'])
    expect(said.notes).toEqual([
      { failover: { from: 'a', to: 'b', model: 'group', after_characters: 20 } },
      { failover: { from: 'b', to: 'c', model: 'group', after_characters: 50 } },
    ])
    const before = call.attempts.map(({ usage }) => usage?.output ?? 0)
    expect(said.usages).toHaveLength(1)
    expect(said.usages[0]).toMatchObject({ completion_tokens: 5 + (before[0] ?? 0) + (before[1] ?? 0) })
    // Each attempt is billed its own.
    expect(three.reader.usage()).toMatchObject({ input: 10, output: 5 })
  })

  it('is the same to a client of Anthropic, whoever answers', () => {
    const call = callOf('anthropic', {})
    const first = routeTo('anthropic', 'a', 'claude-opus-4-6')
    const one = play(call, first, anthropicStream(cut(TEXT, 5)).slice(0, 6))
    expect(resumeAfter(call, one, first)).toBe(true)
    const sent = call.resume?.text.length ?? 0
    const two = play(call, openai('b'), beginning(TEXT.slice(sent), 10))
    expect(resumeAfter(call, two, openai('b'))).toBe(true)
    const three = play(call, first, anthropicStream(cut(TEXT.slice(sent + 10), 6)))
    const said = readAnthropic(one.bytes + two.bytes + three.bytes + three.reader.last())
    expect(said).toMatchObject({ text: TEXT, roles: 1, finishes: ['end_turn'], terminators: 1 })
    expect([...said.ids]).toEqual(['msg_other'])
    // There is room for it at the end only, and the last word counts.
    expect(said.notes).toEqual([{ failover: { from: 'b', to: 'a', model: 'group', after_characters: sent + 10 } }])
  })
})

it('bears one model name, though the first half came from a fallback', () => {
  const call = callOf('openai-chat', {})
  call.fallbacks = 1
  const one = play(call, openai('a'), beginning(TEXT, 20))
  resumeAfter(call, one, openai('a'))
  call.modelGroup = 'another'
  call.fallbacks = 2
  const two = play(call, openai('b'), openaiStream(cut(TEXT.slice(20), 5)))
  expect([...readOpenAI(one.bytes + two.bytes + two.reader.last()).ids]).toEqual(['group first 7 fp_other'])
})

describe('what a stream said in the very piece in which it broke', () => {
  const broken = [Buffer.concat([...beginning(TEXT, 20).slice(1), event({ error: { message: 'overloaded', code: 503 } })])]

  it.each([
    ['passing through', openai],
    ['translated', groq],
  ])('is not lost, nor said twice: %s', (_name, first) => {
    const call = callOf('openai-chat', {})
    const one = play(call, first('a'), [beginning(TEXT, 5)[0] as Buffer, ...broken])
    expect(one.error).not.toBeNull()
    expect(resumeAfter(call, one, first('a'))).toBe(true)
    expect(call.resume?.text).toBe(TEXT.slice(0, 20))
    const two = play(call, openai('b'), openaiStream(cut(TEXT.slice(20), 9)))
    expect(readOpenAI(one.bytes + two.bytes + two.reader.last())).toMatchObject({ text: TEXT, roles: 1, terminators: 1 })
  })

  it.each([
    ['passing through', openai],
    ['translated', groq],
  ])('comes before the error when nobody goes on: %s', (_name, first) => {
    const call = callOf('openai-chat', {})
    const one = play(call, first('a'), [beginning(TEXT, 5)[0] as Buffer, ...broken])
    const told = one.reader.errorEvent(one.error as GatewayError)
    expect(readError(one.bytes + told)).toEqual([TEXT.slice(0, 20), 'error'])
    resumeAfter(call, one, first('a'))
    const resume = call.resume
    if (resume === null) throw new Error('not continued')
    expect(readError(one.bytes + brokenOff(call, resume, new GatewayError('no_deployment')))).toEqual([
      TEXT.slice(0, 20),
      'error',
    ])
  })

  it('is said once by whoever goes on, though the first to try fails before a word', () => {
    const call = callOf('openai-chat', {})
    const one = play(call, groq('a'), [beginning(TEXT, 5)[0] as Buffer, ...broken])
    resumeAfter(call, one, groq('a'))
    const failed = play(call, groq('b'), [event({ error: { message: 'overloaded', code: 503 } })])
    expect(failed.bytes).toBe('')
    // As the loop does with a continuation of which nothing was heard.
    call.resume = failed.reader.continuation()
    const three = play(call, groq('c'), openaiStream(cut(TEXT.slice(20), 9)))
    expect(readOpenAI(one.bytes + three.bytes + three.reader.last()).text).toBe(TEXT)
  })

  it('is said once by whoever goes on, though the first to try broke in its first piece', () => {
    const call = callOf('anthropic', {})
    const thinking = event({
      id: 'x',
      created: 1,
      model: 'm',
      choices: [{ index: 0, delta: { reasoning_content: 'Hm' }, finish_reason: null }],
    })
    const one = play(call, groq('a'), [thinking])
    resumeAfter(call, one, groq('a'))
    const two = play(call, groq('b'), [Buffer.concat([...beginning(TEXT, 20), event({ error: { message: 'overloaded' } })])])
    expect(two.bytes).toBe('')
    // Its encoder is further than the client: only the place it tells itself is right.
    expect(resumeAfter(call, two, groq('b'))).toBe(true)
    const three = play(call, groq('c'), openaiStream(cut(TEXT.slice(20), 9)))
    expect(readAnthropic(one.bytes + three.bytes + three.reader.last())).toMatchObject({
      text: TEXT,
      reasoning: 'Hm',
      terminators: 1,
    })
  })
})

/** Text before the error event, and what stands last. */
function readError(bytes: string): [string, string] {
  const at = bytes.lastIndexOf('data: {"error"')
  return [readOpenAI(bytes.slice(0, at)).text, at < 0 || bytes.includes('[DONE]') ? 'no error' : 'error']
}

describe('a continuation', () => {
  function resumed(
    events: readonly Buffer[],
    count = 20,
    dialect: 'openai-chat' | 'anthropic' = 'openai-chat',
  ): [string, Played] {
    const call = callOf(dialect, {})
    const one = play(call, groq('a'), beginning(TEXT, count))
    resumeAfter(call, one, groq('a'))
    const two = play(call, openai('b'), events, true)
    return [one.bytes + two.bytes + two.reader.last(), two]
  }
  const head = { id: 'x', object: 'chat.completion.chunk', created: 9, model: 'm' }
  const delta = (fields: object, reason: string | null = null) =>
    event({ ...head, choices: [{ index: 0, delta: fields, finish_reason: reason }] })
  const end = Buffer.from('data: [DONE]\n\n')

  it('may call tools: they are new, and whole', () => {
    const call = { index: 0, id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":' } }
    const events = [
      delta({ role: 'assistant', content: null }),
      delta({ content: TEXT.slice(5, 20) }),
      delta({ tool_calls: [call] }),
      delta({ tool_calls: [{ index: 0, function: { arguments: '"Bern"}' } }] }),
      delta({}, 'tool_calls'),
      end,
    ]
    const expected = { text: TEXT.slice(0, 20), tools: '0weather{"city":0"Bern"}', finishes: ['tool_calls'] }
    expect(readOpenAI(resumed(events)[0])).toMatchObject(expected)
    expect(readAnthropic(resumed(events, 20, 'anthropic')[0])).toMatchObject({
      text: TEXT.slice(0, 20),
      tools: 'weather{"city":"Bern"}',
      finishes: ['tool_use'],
    })
    // Once a call went out, nobody can go on from there.
    expect(resumed(events.slice(0, 3))[1].error?.code).toBe('provider_truncated')
    const call2 = callOf('openai-chat', {})
    resumeAfter(call2, play(call2, groq('a'), beginning(TEXT, 20)), groq('a'))
    expect(play(call2, openai('b'), events.slice(0, 3)).reader.continuation()).toBeNull()
  })

  it('thinks in silence, for the client has seen the answer begin', () => {
    const events = [delta({ role: 'assistant', reasoning_content: 'Hm.' }), ...openaiStream(cut(TEXT.slice(20), 8)).slice(1)]
    expect(readOpenAI(resumed(events)[0])).toMatchObject({ text: TEXT, reasoning: '' })
  })

  it('shows its thinking when the client has seen neither thinking nor text', () => {
    const events = [delta({ role: 'assistant', reasoning_content: 'Hm.' }), ...openaiStream(cut(TEXT, 8)).slice(1)]
    expect(readOpenAI(resumed(events, 0)[0])).toMatchObject({ text: TEXT, reasoning: 'Hm.', roles: 1 })
  })

  it('may begin all over, and is cut to what is new', () => {
    expect(readOpenAI(resumed(openaiStream(cut(TEXT, 3)))[0]).text).toBe(TEXT)
  })

  it('may have nothing to add', () => {
    const [bytes] = resumed([delta({ role: 'assistant', content: '' }), delta({}, 'stop'), end])
    expect(readOpenAI(bytes)).toMatchObject({ text: TEXT.slice(0, 20), finishes: ['stop'], terminators: 1 })
    expect(readOpenAI(bytes).notes).toHaveLength(1)
  })

  it('says what it holds back for comparison before it ends', () => {
    const [bytes] = resumed([delta({ content: 'Th' }), delta({}, 'stop'), end], 19)
    expect(readOpenAI(bytes).text).toBe(`${TEXT.slice(0, 19)}Th`)
  })

  it('is shown to whoever captures the answer as the client sees it', () => {
    const call = callOf('openai-chat', {})
    const seen: ChatChunk[] = []
    call.capture = { response: (response) => response, chunk: (chunk) => void seen.push(chunk as ChatChunk) } as Capture
    const one = play(call, openai('a'), beginning(TEXT, 20))
    resumeAfter(call, one, openai('a'))
    play(call, openai('b'), openaiStream(cut(TEXT.slice(8), 8)))
    expect(seen.flatMap(({ choices }) => choices.map((choice) => choice.delta.content ?? '')).join('')).toBe(TEXT)
    expect(new Set(seen.map(({ id }) => id)).size).toBe(1)
  })
})

describe('a stream is not continued', () => {
  it.each([
    ['that has a tool call open', { tool_calls: [{ index: 0, id: 'c', function: { name: 'f', arguments: '{' } }] }],
    ['that has a function call open', { function_call: { name: 'f', arguments: '{' } }],
    ['that refuses', { refusal: 'I cannot' }],
    ['that speaks', { audio: { data: 'AAAA' } }],
    ['with what this version does not know', { novelty: 'yes' }],
  ])('%s', (_name, fields) => {
    for (const route of [openai('a'), groq('a')]) {
      const call = callOf('openai-chat', {})
      const odd = event({
        id: 'x',
        created: 1,
        model: 'm',
        choices: [{ index: 0, delta: { content: 'a', ...fields }, finish_reason: null }],
      })
      expect(play(call, route, [...beginning(TEXT, 10), odd]).reader.continuation()).toBeNull()
      expect(play(call, route, beginning(TEXT, 10)).reader.continuation()).not.toBeNull()
    }
  })

  it('that has finished and lacks nothing but its terminator', () => {
    for (const route of [openai('a'), groq('a')]) {
      expect(play(callOf('openai-chat', {}), route, openaiStream([TEXT]).slice(0, -1)).reader.continuation()).toBeNull()
    }
  })

  it('that is longer than is worth sending again', () => {
    const long = openaiStream(cut('x'.repeat(1_100_000), 50_000)).slice(0, -2)
    for (const route of [openai('a'), groq('a')])
      expect(play(callOf('openai-chat', {}), route, long).reader.continuation()).toBeNull()
  })

  it.each([
    [{ n: 2 }],
    [{ logprobs: true }],
    [{ response_format: { type: 'json_object' } }],
    [{ response_format: { type: 'json_schema', json_schema: { schema: {} } } }],
    [{ modalities: ['text', 'audio'] }],
    [{ audio: { voice: 'alloy' } }],
  ])('whose request was %j', (request) => {
    expect(failsOver(callOf('openai-chat', request))).toBe(false)
    expect(
      failsOver(callOf('openai-chat', { n: 1, response_format: { type: 'text' }, modalities: ['text'], logprobs: false })),
    ).toBe(true)
  })

  it('whose key does not want it', () => {
    const call = callOf('openai-chat', {})
    call.routing = { ...call.routing, failover: { enabled: false, max: 2 } }
    for (const route of [openai('a'), groq('a')]) expect(play(call, route, beginning(TEXT, 10)).reader.continuation()).toBeNull()
  })
})

it('usage told to the client counts the parts of both halves', () => {
  const before = { ...NO_TOKENS, input: 100, output: 20, cacheRead: 60, cacheWrite: 10, reasoning: 7 }
  const usage = {
    prompt_tokens: 40,
    completion_tokens: 4,
    total_tokens: 44,
    prompt_tokens_details: { cached_tokens: 30 },
    cache_read_input_tokens: 30,
    completion_tokens_details: { reasoning_tokens: 1 },
  }
  expect(addUsage(usage, before)).toEqual({
    prompt_tokens: 140,
    completion_tokens: 24,
    total_tokens: 164,
    prompt_tokens_details: { cached_tokens: 90 },
    cache_read_input_tokens: 90,
    cache_creation_input_tokens: 10,
    completion_tokens_details: { reasoning_tokens: 8 },
  })
})
