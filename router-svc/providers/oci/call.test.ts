import { createHash, generateKeyPairSync, verify } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { chat, deployment } from '../../handle.testkit.ts'
import { eventStream, fakeService } from '../http-call.testkit.ts'

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const SETTINGS = {
  oci_user: 'u',
  oci_fingerprint: 'f',
  oci_tenancy: 't',
  oci_compartment_id: 'c',
  oci_key: privateKey.export({ type: 'pkcs1', format: 'pem' }).toString(),
}

let service: Awaited<ReturnType<typeof fakeService>>
afterEach(() => service.close())

describe('a call to Oracle over the wire', () => {
  it('carries a signature that its own headers bear out, and its stream reaches the client', async () => {
    service = await fakeService(() =>
      eventStream(
        { apiFormat: 'COHERE', text: 'Grüß' },
        {
          apiFormat: 'COHERE',
          text: 'Grüß',
          finishReason: 'COMPLETE',
          usage: { promptTokens: 3, completionTokens: 2, totalTokens: 5 },
        },
      ),
    )
    const gateway = service.gateway([
      deployment('one', { provider: 'oci', model: 'cohere.command-r', apiBase: service.base, apiKey: null, settings: SETTINGS }),
    ])
    const client = gateway.call({ ...chat, messages: [{ role: 'user', content: 'Wie heißt du?' }], stream: true })
    await client.done
    expect(client.error).toBeNull()
    expect(client.text.match(/Grüß/g)).toHaveLength(1)
    expect(client.text.trimEnd().endsWith('data: [DONE]')).toBe(true)
    expect(gateway.events[0]).toMatchObject({ outcome: 'success', attempts: [{ usage: { input: 3, output: 2 } }] })

    const { path, headers, body } = service.seen[0] as (typeof service.seen)[number]
    const authorization = String(headers['authorization'])
    const names = /headers="([^"]+)"/.exec(authorization)?.[1]?.split(' ') ?? []
    const text = names.map((name) => `${name}: ${name === '(request-target)' ? `post ${path}` : headers[name]}`).join('\n')
    const signature = Buffer.from(/signature="([^"]+)"/.exec(authorization)?.[1] ?? '', 'base64')
    expect(names).toHaveLength(6)
    expect(verify('RSA-SHA256', Buffer.from(text), publicKey, signature)).toBe(true)
    expect(headers['x-content-sha256']).toBe(createHash('sha256').update(body).digest('base64'))
  })
})
