import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING, type RoutingSettings } from '../../proto/routing.ts'
import { answer, chat, deployment, identity, JSON_TYPE, make, type Sent, settled } from '../handle.testkit.ts'

/** What requests ask of routing, through the whole router: the test plays client and providers. */

const GROUPS = [deployment('one'), deployment('two', { modelGroup: 'b' }), deployment('three', { modelGroup: 'c' })]

function gateway(deployments: Deployment[] = GROUPS, routing: Partial<RoutingSettings> = {}) {
  return make(deployments, { numRetries: 0, routing: { ...DEFAULT_ROUTING, ...routing } })
}

function respond(sent: Sent | undefined, status: number, body: Uint8Array): void {
  sent?.sink.head(status, JSON_TYPE)
  sent?.sink.data(body)
  sent?.sink.end()
}

const fail = (sent: Sent | undefined, status: number): void => respond(sent, status, Buffer.from('{"error":{"message":"no"}}'))
const succeed = (sent: Sent | undefined): void => respond(sent, 200, answer())
const hosts = (sent: Sent[]): string[] => sent.map(({ request }) => new URL(request.url).hostname.split('.')[0] as string)
const bodyOf = (sent: Sent | undefined): Record<string, unknown> =>
  JSON.parse(Buffer.from(sent?.request.body as Uint8Array).toString()) as Record<string, unknown>

describe('a request', () => {
  it('goes on with its own fallbacks, each with the fields it replaces, and none of that reaches a provider', async () => {
    const { sent, call } = gateway()
    const shorter = [{ role: 'user', content: 'short' }]
    const client = call({ ...chat, temperature: 1, fallbacks: [{ model: 'b', messages: shorter, temperature: 0 }, 'c'] })
    fail(sent[0], 500)
    await settled()
    fail(sent[1], 500)
    await settled()
    succeed(sent[2])
    await client.done
    expect(hosts(sent)).toEqual(['one', 'two', 'three'])
    expect(bodyOf(sent[0])).toMatchObject({ temperature: 1, messages: chat.messages })
    expect(bodyOf(sent[1])).toMatchObject({ temperature: 0, messages: shorter })
    expect(sent.map((each) => Object.hasOwn(bodyOf(each), 'fallbacks'))).toEqual([false, false, false])
    expect(JSON.parse(client.text)).toMatchObject({ model: 'c' })
  })

  it('is refused before anything is sent when it names a model its key may not call', async () => {
    const { sent, call } = gateway()
    const client = call({ ...chat, fallbacks: ['b'] }, { identity: { ...identity, models: ['gpt'] } })
    await client.done
    expect(client.head?.status ?? client.error?.status).toBe(403)
    expect(sent).toHaveLength(0)
  })

  it('follows its config: the first target with its fields, on to the next for the statuses named', async () => {
    const config = {
      strategy: { mode: 'fallback', on_status_codes: [503] },
      targets: [{ override_params: { model: 'b', max_tokens: 5 } }, { model: 'c' }],
    }
    const headers = { 'x-portkey-config': JSON.stringify(config) }
    const { sent, call } = gateway()
    const first = call(chat, { headers })
    fail(sent[0], 503)
    await settled()
    succeed(sent[1])
    await first.done
    expect(hosts(sent)).toEqual(['two', 'three'])
    expect([bodyOf(sent[0])['max_tokens'], bodyOf(sent[1])['max_tokens']]).toEqual([5, undefined])
    expect(first.head?.status).toBe(200)
    const second = call(chat, { headers })
    fail(sent[2], 400)
    await second.done
    expect([sent.length, second.error?.status ?? second.head?.status]).toEqual([3, 400])
  })

  it('keeps to the providers it wants and says so when nobody is left', async () => {
    const { sent, call } = gateway([deployment('one'), deployment('two', { provider: 'groq' })])
    const client = call({ ...chat, provider: { only: ['groq'] } })
    succeed(sent[0])
    await client.done
    expect(hosts(sent)).toEqual(['two'])
    const none = call({ ...chat, provider: { only: ['anthropic'] } })
    await none.done
    expect([sent.length, none.error?.status ?? none.head?.status]).toEqual([1, 404])
  })

  it('goes by the tags of its key', async () => {
    const { sent, call } = gateway([deployment('one', { tags: ['free'] }), deployment('two', { tags: ['paid'] })], {
      tagFiltering: true,
    })
    const client = call(chat, { identity: { ...identity, tags: ['paid'] } })
    succeed(sent[0])
    await client.done
    expect(hosts(sent)).toEqual(['two'])
  })

  it('falls back when its input is too long for the group, before anything is sent there', async () => {
    const small = deployment('one', { maxInputTokens: 10 })
    const { sent, call } = gateway([small, deployment('two', { modelGroup: 'b' })], {
      preCallChecks: true,
      fallbacks: { general: {}, contextWindow: { gpt: [{ model: 'b' }] }, contentPolicy: null },
    })
    const client = call({ ...chat, messages: [{ role: 'user', content: 'x'.repeat(1_000) }] })
    await settled()
    succeed(sent[0])
    await client.done
    expect(hosts(sent)).toEqual(['two'])
    expect(client.head?.headers['x-litellm-attempted-fallbacks']).toBe('1')
  })
})
