import { describe, expect, it } from 'vitest'
import type { InternalAnswer, InternalRequest } from '../internal-call.ts'
import { callOf } from './call.testkit.ts'
import { createEmbed } from './embed.ts'

function make(status: number, body: string) {
  const asked: InternalRequest[] = []
  const run = async (request: InternalRequest): Promise<InternalAnswer> => {
    asked.push(request)
    return { status, headers: {}, body: Buffer.from(body) }
  }
  return { asked, embed: createEmbed({ run }) }
}

describe('the vector of a prompt', () => {
  it('is asked of the embedding model on the caller’s account, whatever models its key may call', async () => {
    const { asked, embed } = make(200, '{"data":[{"embedding":[0.5,-1]}]}')
    const { call } = callOf({}, { identity: { models: ['gpt'], teamId: 't', cacheControls: ['ttl'] } })
    expect(await embed('hi', 'e5', call)).toEqual(Float32Array.from([0.5, -1]))
    expect(asked[0]).toMatchObject({
      endpoint: 'aembedding',
      body: { model: 'e5', input: 'hi' },
      identity: { models: [], teamId: 't', keyHash: 'hash' },
      unlimited: true,
    })
    expect(asked[0]?.identity).not.toHaveProperty('cacheControls')
  })

  it.each([
    [429, '{"error":{"message":"no"}}', 'status 429'],
    [200, '{"data":[]}', 'no vector'],
    [200, '{"data":[{"embedding":"AAAA"}]}', 'no vector'],
  ])('is an error when there is none (%s %s)', async (status, body, reason) => {
    await expect(make(status, body).embed('hi', 'e5', callOf().call)).rejects.toThrow(reason)
  })
})
