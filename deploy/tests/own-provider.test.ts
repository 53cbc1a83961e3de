import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** A provider that exists in the configuration alone, in both modes. */
describe.each(MODES)('%s', (mode) => {
  let server: Server
  let gateway: Gateway
  let asked: { path: string; headers: Record<string, unknown>; body: Record<string, unknown> }[] = []

  beforeAll(async () => {
    server = createServer(async (request, response) => {
      const parts: Buffer[] = []
      for await (const part of request) parts.push(part as Buffer)
      const body = JSON.parse(Buffer.concat(parts).toString('utf8')) as Record<string, unknown>
      asked.push({ path: request.url ?? '', headers: request.headers, body })
      const answer = {
        id: 'a1',
        object: 'chat.completion',
        created: 1,
        model: body['model'],
        choices: [{ index: 0, message: { role: 'assistant', content: 'from acme' }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
      }
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(answer))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const config = {
      turnpike_settings: {
        providers: {
          acme: {
            base: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v3/`,
            api_key_env: 'ACME_API_KEY',
            headers: { 'X-Client': 'turnpike' },
            unsupported: ['logit_bias'],
            rename: { max_completion_tokens: 'max_output' },
          },
        },
      },
      model_list: [{ model_name: 'small', litellm_params: { model: 'acme/tiny-1' } }],
    }
    gateway = await openGateway(mode, { config: JSON.stringify(config), env: { ACME_API_KEY: 'acme-secret' } })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await new Promise((resolve) => server?.close(resolve))
  })

  const call = async (
    body: Record<string, unknown>,
  ): Promise<{ status: number; callId: string; body: Record<string, unknown> }> => {
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.masterKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'small', messages: [{ role: 'user', content: 'hi' }], ...body }),
    })
    const callId = response.headers.get('x-litellm-call-id') as string
    return { status: response.status, callId, body: (await response.json()) as Record<string, unknown> }
  }

  it('is called with its key, address, headers and names, and billed', async () => {
    asked = []
    const answer = await call({ max_completion_tokens: 9 })
    expect(answer.body).toMatchObject({ model: 'small', choices: [{ message: { content: 'from acme' } }] })
    expect(asked).toMatchObject([
      {
        path: '/api/v3/chat/completions',
        headers: { authorization: 'Bearer acme-secret', 'x-client': 'turnpike' },
        body: { model: 'tiny-1', max_output: 9 },
      },
    ])
    expect(asked[0]?.body).not.toHaveProperty('max_completion_tokens')
    expect(await gateway.ledger(answer.callId)).toMatchObject([
      { custom_llm_provider: 'acme', model: 'tiny-1', prompt_tokens: 3 },
    ])
  })

  it('refuses what the configuration says it refuses, by name', async () => {
    const refused = await call({ logit_bias: { 1: 1 } })
    expect(refused.status).toBe(400)
    expect(JSON.stringify(refused.body)).toContain('logit_bias')
  })
})

describe('a configuration that adds a provider', () => {
  it.each([
    [{ openai: { base: 'https://x.dev' } }, /openai.*known already/s],
    [{ acme: {} }, /acme.*base/s],
    [{ acme: { base: 'ftp://x' } }, /http/],
    [{ acme: { base: 'https://x.dev', quirk: true } }, /quirk/],
  ])('is refused when it is wrong: %j', async (providers, message) => {
    const config = JSON.stringify({ turnpike_settings: { providers }, model_list: [] })
    await expect(openGateway('embedded', { config })).rejects.toThrow(message)
  })
})
