import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { providerRow } from '../../shared/catalog/providers.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import { batchedEmbeddings } from './batched-embeddings.ts'
import { openai } from './openai.ts'
import { PLAIN_TARGET } from './plain-target.ts'
import type { Ask, Conversation, DecodeContext, Target, UpstreamAnswer } from './provider.ts'

const plain = openai('openai', providerRow('openai') as never).embedding as never
const target: Target = {
  ...PLAIN_TARGET,
  provider: 'openai',
  model: 'text-embedding-3-small',
  base: 'https://api.openai.com/v1',
}
const contextOf = (request: object) => ({ id: 'i', created: 1, model: 'm', request }) as unknown as DecodeContext

/** A provider whose vector of an input is the number in it. */
function answerTo({ body }: { body: string | Uint8Array }): UpstreamAnswer {
  const { input, encoding_format: format } = JSON.parse(String(body)) as {
    input: (string | number[])[]
    encoding_format?: string
  }
  const data = input.map((text, index) => {
    const vector = Float32Array.of(Number(Array.isArray(text) ? text[0] : text))
    return {
      object: 'embedding',
      index,
      embedding: format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector],
    }
  })
  const answer = {
    object: 'list',
    model: 'm-1',
    data: data.reverse(),
    usage: { prompt_tokens: input.length, total_tokens: input.length },
  }
  return { status: 200, headers: {}, body: Buffer.from(JSON.stringify(answer)) }
}

function run(conversation: Conversation<EmbeddingResponse>, answer = answerTo): { response: EmbeddingResponse; asks: number[] } {
  const asks: number[] = []
  let step = conversation.next([])
  while (step.done !== true) {
    const { send } = step.value as Ask
    asks.push(send.length)
    step = conversation.next(send.map((request) => answer(request as never)))
  }
  return { response: step.value as EmbeddingResponse, asks }
}

function converse(request: Partial<EmbeddingRequest>, limit: number) {
  const adapter = batchedEmbeddings(plain as Required<ReturnType<typeof openai>>['embedding'], limit)
  const asked = { model: 'm', ...request } as EmbeddingRequest
  return adapter.converse?.(asked, target, contextOf(asked)) ?? null
}

describe('batchedEmbeddings', () => {
  it('leaves alone what one request can hold', () => {
    expect(converse({ input: 'one' }, 1)).toBeNull()
    expect(converse({ input: [1, 2, 3] }, 1)).toBeNull()
    expect(converse({ input: ['1', '2'] }, 2)).toBeNull()
  })

  it('keeps every vector in its place and adds up the usage, whatever the limit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 60 }), fc.integer({ min: 1, max: 20 }), (count, limit) => {
        fc.pre(count > limit)
        const input = Array.from({ length: count }, (_, index) => String(index))
        const { response, asks } = run(converse({ input }, limit) as Conversation<EmbeddingResponse>)
        expect(response.data.map(({ index, embedding }) => [index, ...(embedding as number[])])).toEqual(
          input.map((text, index) => [index, Number(text)]),
        )
        expect(response.usage).toMatchObject({ prompt_tokens: count, total_tokens: count })
        expect(asks.reduce((all, some) => all + some)).toBe(Math.ceil(count / limit))
        expect(Math.max(...asks)).toBeLessThanOrEqual(8)
      }),
    )
  })

  it('splits lists of token lists, and answers base64 where it is asked for', () => {
    const request = { input: [[7], [8], [9]], encoding_format: 'base64' as const }
    const { response } = run(converse(request, 2) as Conversation<EmbeddingResponse>)
    const numbers = response.data.map(({ embedding }) => Buffer.from(embedding as string, 'base64').readFloatLE(0))
    expect(numbers).toEqual([7, 8, 9])
  })

  it('refuses a part that lost a vector', () => {
    const short = (request: { body: string | Uint8Array }) => {
      const answer = answerTo(request)
      const parsed = JSON.parse(Buffer.from(answer.body).toString())
      return { ...answer, body: Buffer.from(JSON.stringify({ ...parsed, data: parsed.data.slice(1) })) }
    }
    expect(() => run(converse({ input: ['1', '2', '3'] }, 2) as Conversation<EmbeddingResponse>, short)).toThrow(
      /1 embeddings for 2 inputs/,
    )
  })
})
