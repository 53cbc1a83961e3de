import { describe, expect, it } from 'vitest'
import { toGatewayError } from '../../../shared/errors.ts'
import { SseParser } from '../../../shared/http/sse.ts'
import type { ChatChunk } from '../../canonical/chat.ts'
import * as anthropic from '../../providers/anthropic/recordings.testkit.ts'
import { providerOf } from '../../providers/index.ts'
import { fileNames, haveRecordings, recordings } from '../../providers/openai/recordings.suite.ts'
import { pieceSizes } from '../../providers/provider.suite.ts'
import { validatorOf } from '../../providers/spec.testkit.ts'
import { type Folded, fold } from './grammar.testkit.ts'
import { decodeRequest } from './request.ts'
import { ResponseStreamEncoder } from './stream.ts'

interface Recorded {
  provider: string
  file: string
  stream: string
  request: Record<string, unknown>
}

const { responses } = decodeRequest({ model: 'alias', input: 'hello', metadata: { a: 'b' } })
const client = { ...(responses as NonNullable<typeof responses>), id: 'resp_ours', key: '0123abcd' }

/** A provider's recorded bytes as a client of the Responses API gets them, the bytes cut into pieces of `sizes`, round and round. */
function translated({ provider, stream, request }: Recorded, sizes: readonly number[]): Folded {
  const chat = providerOf(provider)?.chat
  const decoder = chat?.decodeStream?.({ id: 'chatcmpl-x', created: 1, model: 'upstream', request: { messages: [], ...request } })
  if (decoder === undefined) throw new Error(`${provider} does not stream`)
  const encoder = new ResponseStreamEncoder({ model: 'alias', responses: client })
  const parser = new SseParser()
  const bytes = Buffer.from(stream)
  let text = ''
  const push = (chunks: ChatChunk[]): void => {
    for (const chunk of chunks) text += encoder.push(chunk)
  }
  let piece = 0
  try {
    for (let at = 0; at < bytes.length; piece += 1) {
      const size = sizes[piece % sizes.length] as number
      for (const event of parser.push(bytes.subarray(at, at + size))) if (!decoder.done) push(decoder.push(event))
      at += size
    }
    for (const event of parser.end()) if (!decoder.done) push(decoder.push(event))
    push(decoder.end())
  } catch (thrown) {
    return fold(text + encoder.error(toGatewayError(thrown)))
  }
  return fold(text + encoder.end())
}

const PROVIDERS = ['openai', 'groq', 'deepseek', 'mistral', 'openrouter', 'xai', 'together_ai', 'fireworks_ai']
const FOLDERS: Readonly<Record<string, string>> = { together_ai: 'together', fireworks_ai: 'fireworks' }

describe.skipIf(!haveRecordings())('recorded streams of other protocols', () => {
  const compatible = PROVIDERS.flatMap((provider) => {
    const folder = FOLDERS[provider] ?? provider
    return fileNames(folder)
      .flatMap((file) => recordings(folder, file, 'chat'))
      .flatMap(({ file, stream, request, status }) =>
        stream === null || status !== 200 || stream.includes('"type":"response.') ? [] : [{ provider, file, stream, request }],
      )
  })
  const claude = anthropic
    .fileNames('anthropic')
    .flatMap((file) => anthropic.recordings('anthropic', file))
    .flatMap(({ file, stream, request }) =>
      stream === null ? [] : [{ provider: 'anthropic', file, stream, request: request ?? {} }],
    )
  const recorded: Recorded[] = [...compatible, ...claude]
  const isResponse = validatorOf('openai', 'Response')

  it('are there', () => {
    expect(compatible.length).toBeGreaterThanOrEqual(20)
    expect(claude.length).toBeGreaterThanOrEqual(20)
  })

  for (const [index, one] of recorded.entries()) {
    it(`reach a Responses client in order and whole, however they are cut: ${one.provider} ${one.file} (${index})`, () => {
      const whole = translated(one, [one.stream.length])
      const broken = /^data: ?\{"(?:error"|type": ?"error")/m.test(one.stream)
      expect(whole.end === 'failed' || whole.end === 'error').toBe(broken)
      if (!broken) {
        expect(isResponse(whole.response)).toEqual([])
        expect(whole.response).toMatchObject({ id: 'resp_ours', model: 'alias', metadata: { a: 'b' } })
        expect(whole.response?.['output']).toEqual(whole.items)
      }
      for (const seed of [1, 2, 3]) expect(translated(one, pieceSizes(seed))).toEqual(whole)
      expect(translated(one, [1])).toEqual(whole)
    })
  }
})
