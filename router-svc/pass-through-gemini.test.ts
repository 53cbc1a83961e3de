import { describe, expect, it } from 'vitest'
import { GatewayError } from '../shared/errors.ts'
import { SseParser } from '../shared/http/sse.ts'
import type { ChatRequest } from './canonical/chat.ts'
import { decodeRequest } from './dialects/gemini/request.ts'
import { arrayFrames, eventFrames, type Frames } from './dialects/gemini/stream.ts'
import { ContentsPassThrough, forwardContent, forwardContents } from './pass-through-gemini.ts'
import { target } from './providers/gemini/encode.testkit.ts'
import { decodeError } from './providers/gemini/errors.ts'
import type { GeminiAdapter } from './providers/gemini/index.ts'
import { chats, haveRecordings } from './providers/gemini/recordings.testkit.ts'
import { providerOf } from './providers/index.ts'

const readError = (status: number, headers: Record<string, string>, body: string) => decodeError('gemini', status, headers, body)

function reader(frames: Frames = eventFrames(), keepText = false): ContentsPassThrough {
  return new ContentsPassThrough({ model: 'alias', upstream: 'gemini-2.5-flash', frames, readError, keepText })
}

/** The stream through a reader, cut into pieces of `sizes`, round and round. */
function through(stream: string, sizes: readonly number[], frames?: Frames): { text: string; stream: ContentsPassThrough } {
  const passing = reader(frames)
  const bytes = Buffer.from(stream)
  let text = ''
  for (let at = 0, piece = 0; at < bytes.length; piece += 1) {
    const size = sizes[piece % sizes.length] as number
    text += Buffer.from(passing.push(bytes.subarray(at, at + size))).toString('utf8')
    at += size
  }
  text += Buffer.from(passing.finish()).toString('utf8')
  return { text: text + passing.last(), stream: passing }
}

function events(stream: string): Record<string, unknown>[] {
  const parser = new SseParser()
  return [...parser.push(Buffer.from(stream)), ...parser.end()].map(({ data }) => JSON.parse(data) as Record<string, unknown>)
}

const chunk = (parts: unknown[], more: Record<string, unknown> = {}, beside: Record<string, unknown> = {}) =>
  `data: ${JSON.stringify({ candidates: [{ content: { parts, role: 'model' }, index: 0, ...more }], modelVersion: 'upstream', responseId: 'r', ...beside })}\r\n\r\n`
const END = { finishReason: 'STOP' }
const USAGE = { usageMetadata: { promptTokenCount: 9, candidatesTokenCount: 4, totalTokenCount: 13 } }

describe.skipIf(!haveRecordings())('streams recorded from Gemini', () => {
  const recorded = chats().flatMap(({ file, stream }) => (stream === null ? [] : [{ file, stream }]))

  it('are there', () => {
    expect(recorded.length).toBeGreaterThanOrEqual(15)
  })

  for (const [index, { file, stream }] of recorded.entries()) {
    it(`reach the client as they came but for the model, however they are cut, and are billed as reported: ${file} (${index})`, () => {
      const whole = through(stream, [stream.length])
      const sent = events(stream).map((payload) => ('modelVersion' in payload ? { ...payload, modelVersion: 'alias' } : payload))
      expect(events(whole.text)).toEqual(sent)
      for (const sizes of [[1], [7, 1, 30], [64, 3]]) expect(through(stream, sizes).text).toBe(whole.text)
      expect(JSON.parse(through(stream, [11, 5], arrayFrames(false)).text)).toEqual(sent)
      const told = events(stream).findLast(({ usageMetadata }) => usageMetadata !== undefined)?.['usageMetadata'] as
        | Record<string, number>
        | undefined
      if (told !== undefined) {
        const usage = whole.stream.usage()
        expect(usage.estimated).toBe(false)
        expect(usage.cacheRead).toBe(told['cachedContentTokenCount'] ?? 0)
        expect(usage.reasoning).toBe(told['thoughtsTokenCount'] ?? 0)
        expect(usage.input).toBe((told['promptTokenCount'] ?? 0) + (told['toolUsePromptTokenCount'] ?? 0))
      }
    })

    it(`are never whole before their end: ${file} (${index})`, () => {
      const first = stream.search(/"finishReason"/)
      for (const part of [0.3, 0.7, 0.95]) {
        const cut = stream.slice(0, Math.floor(first * part))
        expect(() => through(cut, [64])).toThrow(GatewayError)
      }
    })
  }
})

describe('a stream on its way', () => {
  it('is held until the model speaks, so that another deployment may still be tried', () => {
    const passing = reader()
    expect(passing.push(Buffer.from(chunk([])))).toHaveLength(0)
    expect(passing.firstToken).toBe(false)
    expect(events(Buffer.from(passing.push(Buffer.from(chunk([{ text: 'a' }])))).toString('utf8'))).toHaveLength(2)
    expect(passing.firstToken).toBe(true)
  })

  it('tells of an error in its midst, in either framing, after what came before it', () => {
    for (const frames of [eventFrames(), arrayFrames(false)]) {
      const passing = reader(frames)
      let out = Buffer.from(passing.push(Buffer.from(chunk([{ text: 'a' }])))).toString('utf8')
      const error = `data: ${JSON.stringify({ error: { code: 503, message: 'overloaded', status: 'UNAVAILABLE' } })}\r\n\r\n`
      let thrown: unknown
      try {
        passing.push(Buffer.from(chunk([{ text: 'b' }]) + error))
      } catch (caught) {
        thrown = caught
      }
      expect(thrown).toMatchObject({ status: 503 })
      out += passing.errorEvent(thrown as GatewayError)
      const list = out.startsWith('[') ? (JSON.parse(out) as Record<string, unknown>[]) : events(out)
      expect(list).toHaveLength(3)
      expect(list[2]).toMatchObject({ error: { code: 503, status: 'UNAVAILABLE' } })
    }
  })

  it('says where another one may go on, unless something else than text came, or the end', () => {
    const after = (...chunks: string[]) => {
      const passing = reader(arrayFrames(false), true)
      for (const one of chunks) passing.push(Buffer.from(one))
      return passing.continuation()
    }
    expect(after(chunk([{ text: 'hm', thought: true }]), chunk([{ text: 'Hel' }]), chunk([{ text: 'lo' }]))).toMatchObject({
      text: 'Hello',
      reasoning: true,
      envelope: { id: 'r' },
      point: { begun: true },
    })
    expect(after(chunk([{ text: 'a' }]), chunk([{ functionCall: { name: 'f', args: {} } }]))).toBeNull()
    expect(after(chunk([{ text: 'a' }], END))).toBeNull()
  })

  it('is whole when every candidate has finished or the prompt was blocked, and counts may come behind', () => {
    const counts = `data: ${JSON.stringify(USAGE)}\r\n\r\n`
    expect(through(chunk([{ text: 'a' }], END) + counts, [50]).stream.usage()).toMatchObject({
      input: 9,
      output: 4,
      estimated: false,
    })
    expect(events(through(`data: {"promptFeedback":{"blockReason":"SAFETY"}}\r\n\r\n`, [9]).text)).toHaveLength(1)
    expect(() => through(chunk([{ text: 'a' }], END) + chunk([{ text: 'b' }], { index: 1 }), [50])).toThrow(GatewayError)
    expect(() => through('', [1])).toThrow(/empty/)
  })

  it('estimates the output of one that broke off', () => {
    const passing = reader()
    passing.push(
      Buffer.from(chunk([{ text: 'a'.repeat(400) }], {}, { usageMetadata: { promptTokenCount: 9, totalTokenCount: 9 } })),
    )
    expect(() => passing.finish()).toThrow(GatewayError)
    expect(passing.usage()).toMatchObject({ input: 9, output: 100, estimated: true })
  })
})

describe('a whole answer on its way', () => {
  const forward = (value: unknown) => forwardContent(Buffer.from(JSON.stringify(value)), 'alias', 'gemini-3-pro', readError)
  const candidates = [{ content: { parts: [{ text: 'a' }] }, groundingMetadata: { webSearchQueries: ['x', 'y'] } }]

  it('gets the client’s name of the model; tokens and searches are billed', () => {
    const { body, usage, reportedModel } = forward({ candidates, modelVersion: 'upstream', novel: 1, ...USAGE })
    expect(JSON.parse(Buffer.from(body).toString('utf8'))).toEqual({ candidates, modelVersion: 'alias', novel: 1, ...USAGE })
    expect(reportedModel).toBe('upstream')
    expect(usage).toMatchObject({ input: 9, output: 4, toolCalls: { web_search: 2 } })
  })

  it('is an error when it holds one, or nothing', () => {
    expect(() => forward({ error: { code: 429, message: 'slow', status: 'RESOURCE_EXHAUSTED' } })).toThrow(/slow/)
    expect(() => forward([{ error: { code: 400, message: 'nope', status: 'INVALID_ARGUMENT' } }])).toThrow(/nope/)
    for (const nothing of [{}, [], 5, { other: 1 }]) expect(() => forward(nothing)).toThrow(GatewayError)
    const cut = Buffer.from(JSON.stringify({ ...USAGE, candidates })).subarray(0, -4)
    expect(() => forwardContent(cut, 'alias', 'gemini-3-pro', readError)).toThrow(GatewayError)
    expect(forward({ promptFeedback: { blockReason: 'SAFETY' } }).usage).toBeNull()
  })
})

describe('a request on its way', () => {
  const adapter = providerOf('gemini')?.chat as GeminiAdapter
  const send = (text: string, change: (request: ChatRequest) => ChatRequest = (request) => request, dropped: string[] = []) => {
    const parsed = { ...(JSON.parse(text) as Record<string, unknown>), model: 'alias', stream: false }
    const decoded = decodeRequest(parsed)
    const call = { raw: Buffer.from(text), parsed, decoded }
    return String(forwardContents(call, adapter, change(decoded), target({ additionalDropParams: dropped })).body)
  }
  const body = '{"contents" : [{"parts":[{"text":"é"}], "role":"user"}], "novel":{"a": 1.50}}'

  it('is the client’s bytes, without what is for the gateway', () => {
    expect(send(body)).toBe(body)
    expect(send(body.replace('{', '{"tags":["t"],"model":"x","user":"u",'))).toBe(body)
  })

  it('is written anew where it is changed, and by another provider’s thoughts', () => {
    expect(JSON.parse(send(body, (request) => ({ ...request, temperature: 0 })))).toEqual({
      contents: [{ role: 'user', parts: [{ text: 'é' }] }],
      generationConfig: { temperature: 0 },
      novel: { a: 1.5 },
    })
    const hot = '{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"temperature":1}}'
    expect(JSON.parse(send(hot, undefined, ['temperature']))['generationConfig']).toBeUndefined()
  })
})
