import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { vi } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { CREDENTIALS, type FakeS3, REGION, startFakeS3 } from '../../router-svc/cache/fake-s3.testkit.ts'
import { systemClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'
import { createRedis, type RedisConnection } from '../../shared/redis.ts'
import { type Gateway, type ModeName, openGateway } from './gateway.ts'

/** A gateway whose cache is set up anew for each group of tests, by what operators have for it: `POST /config/update`. */
export interface CachedGateway {
  gateway: Gateway
  upstream: Upstream
  s3: FakeS3
  redis: RedisConnection
  /** A way to that Redis that can be closed. */
  relay: Relay
  /** Puts a cache in force everywhere, and starts counting the provider's calls from zero. `params` null = none. */
  arrange(params: Record<string, unknown> | null, extras?: Record<string, unknown>): Promise<void>
  /** `cache_params` of a type, all of this gateway's own. */
  paramsOf(type: string): Record<string, unknown>
  /** How many answers a store holds that keeps them after its client has got them; null = it keeps them before. */
  stored(type: string): Promise<number> | null
  ask(fields: Record<string, unknown>, options?: AskOptions): Promise<Asked>
  sdk(key: string): OpenAI
  stop(): Promise<void>
}

export interface AskOptions {
  key?: string
  path?: string
  headers?: Record<string, string>
  signal?: AbortSignal
}

/** One answer. */
export interface Asked {
  status: number
  hit: boolean
  headers: Headers
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: wire decoding
  json: any
}

export interface Relay {
  url: string
  /** `gone`: connections are reset and refused; `silent`: what is sent goes nowhere. */
  be(how: 'open' | 'gone' | 'silent'): Promise<void>
}

const CONFIG = (url: string): string => `
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-scripted, api_base: '${url}/v1', api_key: k, input_cost_per_token: 0.001, output_cost_per_token: 0.002}
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-5, api_base: '${url}', api_key: k, input_cost_per_token: 0.001, output_cost_per_token: 0.002}
  - model_name: embed
    litellm_params: {model: openai/embed-scripted, api_base: '${url}/v1', api_key: k, input_cost_per_token: 0.001}
    model_info: {mode: embedding}
  - model_name: mock
    litellm_params: {model: mock/mock, mock_response: in force}
router_settings: {num_retries: 0}
`

export async function openCachedGateway(mode: ModeName): Promise<CachedGateway> {
  const folder = mkdtempSync(join(tmpdir(), 'turnpike-cached-'))
  const upstream = await startUpstream()
  const s3 = await startFakeS3('answers')
  // A database of its own: the other mode, and other tests, have theirs.
  const redisUrl = new URL(process.env['TURNPIKE_TEST_REDIS_URL'] as string)
  redisUrl.pathname = mode === 'embedded' ? '/14' : '/15'
  const redis = createRedis({ url: redisUrl.href, log: silentLog, clock: systemClock })
  const { relay, close } = await openRelay(redisUrl)
  const gateway = await openGateway(mode, { config: CONFIG(upstream.url) })
  const urls = gateway.cluster?.urls ?? [gateway.url]
  let asked = 0
  let step = 0

  async function ask(fields: Record<string, unknown>, options: AskOptions = {}): Promise<Asked> {
    asked += 1
    const { key = gateway.masterKey, path = '/v1/chat/completions', headers = {}, signal } = options
    const response = await fetch(`${urls[asked % urls.length]}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ model: 'gpt', ...fields }),
      ...(signal === undefined ? {} : { signal }),
    })
    const text = await response.text()
    const json = response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : null
    const hit = response.headers.get('x-litellm-cache-hit') === 'True'
    return { status: response.status, hit, headers: response.headers, text, json }
  }

  return {
    gateway,
    upstream,
    s3,
    redis,
    relay,
    ask,
    async arrange(params, extras = {}) {
      step += 1
      await gateway.admin('POST', '/config/update', {
        litellm_settings: { cache: params !== null, ...(params === null ? {} : { cache_params: params }) },
        turnpike_settings: { cache: { replay_pace: 0, ...extras } },
        // A name that is there as soon as the rest of the change is.
        router_settings: { model_group_alias: { [`step-${step}`]: 'mock' } },
      })
      // In force everywhere, and its store there: every router has answered one of these from it.
      const fields = {
        model: `step-${step}`,
        messages: [{ role: 'user', content: 'is it there' }],
        ...(params === null ? {} : { cache: { 'use-cache': true } }),
      }
      const probes = () => Promise.all(Array.from({ length: gateway.cluster === null ? 1 : 24 }, () => ask(fields)))
      await vi.waitUntil(async () => (await probes()).every(({ status, hit }) => status === 200 && hit === (params !== null)), {
        timeout: 10_000,
        interval: 20,
      })
      upstream.reset()
    },
    paramsOf(type) {
      if (type === 'redis' || type === 'redis-semantic') return { type, url: redisUrl.href }
      if (type === 'disk') return { type, disk_cache_dir: folder }
      if (type !== 's3') return { type }
      return {
        type,
        s3_bucket_name: 'answers',
        s3_region_name: REGION,
        s3_endpoint_url: s3.endpoint,
        s3_aws_access_key_id: CREDENTIALS.accessKeyId,
        s3_aws_secret_access_key: CREDENTIALS.secretAccessKey,
        s3_aws_session_token: CREDENTIALS.sessionToken,
      }
    },
    stored(type) {
      if (type === 'redis') return redis.call('DBSIZE') as Promise<number>
      if (type === 's3') return Promise.resolve(s3.objects.size)
      const isAnswer = (path: string) => /[0-9a-f]{64}\.json$/.test(path)
      if (type === 'disk') return Promise.resolve((readdirSync(folder, { recursive: true }) as string[]).filter(isAnswer).length)
      return null
    },
    sdk: (key) => new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, maxRetries: 0 }),
    async stop() {
      await gateway.stop()
      await close()
      await redis.call('FLUSHDB')
      await redis.close()
      await s3.close()
      await upstream.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Messages nobody else sends, and the script of their answer. The first is the name under which `upstream.served` has it. */
export function prompt(script = '', words = 'hello'): { id: string; messages: { role: 'user'; content: string }[] } {
  const id = randomUUID()
  return { id, messages: [{ role: 'user', content: `${words} [[upstream id=${id}${script === '' ? '' : `,${script}`}]]` }] }
}

async function openRelay(target: URL): Promise<{ relay: Relay; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  let silent = false
  const server = createServer((socket) => {
    const other = connect(Number(target.port), target.hostname)
    for (const [from, to] of [
      [socket, other],
      [other, socket],
    ] as const) {
      sockets.add(from)
      from.on('data', (bytes) => silent || to.write(bytes))
      from.on('error', () => undefined)
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
    }
  })
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  const shut = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  await listen(0)
  const { port } = server.address() as { port: number }
  const url = new URL(target)
  url.port = String(port)
  return {
    relay: {
      url: url.href,
      async be(how) {
        silent = how === 'silent'
        if (how === 'gone') await shut()
        else if (!server.listening) await listen(port)
      },
    },
    close: shut,
  }
}
