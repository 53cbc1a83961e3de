import { afterEach, describe, expect, it } from 'vitest'
import type { AdminMessage } from '../proto/admin.ts'
import {
  connectRaw,
  deploymentOf,
  identityOf,
  KEY,
  type RawClient,
  requestText,
  runtimeOf,
  type Scene,
  type SceneOptions,
  startScene,
} from './testing.ts'

let scene: Scene | null = null
const clients: RawClient[] = []

interface Answer {
  status: number
  head: string
  body: string
  json: unknown
}

async function ask(method: string, path: string, headers: Record<string, string> = {}, body = ''): Promise<Answer> {
  const client = await connectRaw((scene as Scene).edge.port)
  clients.push(client)
  client.send(requestText(method, path, { connection: 'close', ...headers }, body))
  const text = await client.closed()
  const [head = '', rest = ''] = text.split(/\r\n\r\n(.*)/s)
  return {
    status: Number(head.split(' ')[1]),
    head,
    body: rest,
    get json() {
      return JSON.parse(rest)
    },
  }
}

async function start(options: SceneOptions = {}): Promise<void> {
  scene = await startScene(options)
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.end()
  await scene?.stop()
  scene = null
})

const AUTH = { authorization: `Bearer ${KEY}` }

describe('models', () => {
  const deployments = [
    deploymentOf({ modelGroup: 'gpt-a', accessGroups: ['cheap'] }),
    deploymentOf({ modelGroup: 'gpt-a', id: 'd2' }),
    deploymentOf({ modelGroup: 'openai/*', id: 'd3' }),
    deploymentOf({ modelGroup: 'secret', id: 'd4' }),
    deploymentOf({ modelGroup: 'own-name', model: 'own-name', id: 'd5' }),
  ]
  const ids = (answer: Answer) => (answer.json as { data: { id: string }[] }).data.map((model) => model.id)

  it('are listed once each, in the shape clients expect', async () => {
    await start({ runtime: runtimeOf(deployments, { modelGroupAlias: { 'gpt-alias': 'gpt-a', dangling: 'nowhere' } }) })
    const answer = await ask('GET', '/v1/models', AUTH)
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({ object: 'list' })
    expect((answer.json as { data: unknown[] }).data[0]).toEqual({
      id: 'gpt-a',
      object: 'model',
      created: 1677610602,
      owned_by: 'openai',
    })
    expect(ids(answer)).toEqual(['gpt-a', 'openai/*', 'secret', 'own-name', 'gpt-alias'])
  })

  it('are those the key may use', async () => {
    await start({ runtime: runtimeOf(deployments), identities: { [KEY]: identityOf({ models: ['cheap', 'openai/*'] }) } })
    expect(ids(await ask('GET', '/models', AUTH))).toEqual(['gpt-a', 'openai/*', 'own-name'])
    expect(ids(await ask('GET', '/models?only_model_access_groups=true', AUTH))).toEqual(['cheap'])
    expect((await ask('GET', '/v1/models/gpt-a', AUTH)).json).toMatchObject({ id: 'gpt-a', object: 'model' })
    expect((await ask('GET', '/v1/models/openai%2Fgpt-4o', AUTH)).json).toMatchObject({ id: 'openai/gpt-4o' })
    expect((await ask('GET', '/v1/models/secret', AUTH)).status).toBe(404)
  })

  it('are not for callers without a key', async () => {
    await start()
    const answer = await ask('GET', '/v1/models')
    expect(answer.status).toBe(401)
    expect(answer.json).toEqual({
      error: { message: 'Authentication Error, No api key passed in.', type: 'auth_error', param: null, code: '401' },
    })
  })

  it('are for anybody where the operator made the route public, and for nobody where it is not among the allowed ones', async () => {
    await start({ runtime: runtimeOf(deployments, { publicRoutes: ['/v1/models'] }) })
    expect((await ask('GET', '/v1/models')).status).toBe(200)
    expect((await ask('GET', '/models')).status).toBe(401)
    await scene?.stop()
    await start({ runtime: runtimeOf(deployments, { allowedRoutes: ['/v1/chat/completions'] }) })
    const answer = await ask('GET', '/v1/models', AUTH)
    expect(answer.status).toBe(403)
    expect(answer.body).toContain('allowed_routes')
  })

  it('are for anybody while no master key is set', async () => {
    await start({ runtime: runtimeOf(deployments, { open: true }) })
    expect((await ask('GET', '/v1/models')).status).toBe(200)
    expect(scene?.questions).toBe(0)
  })
})

describe('health', () => {
  it('says alive at once, and that it is shutting down while draining', async () => {
    await start({ runtime: null, settings: { idleGrace: 60_000 } })
    const client = await connectRaw((scene as Scene).edge.port)
    clients.push(client)
    client.send(requestText('GET', '/health/liveliness'))
    await client.until(/200 OK.*"I'm alive!"$/s)
    const drained = scene?.edge.drain(60_000)
    client.send(requestText('GET', '/health/liveness'))
    expect(await client.closed()).toMatch(/503 Service Unavailable.*\{"status":"shutting_down"\}$/s)
    await drained
  })

  it('is not ready before a configuration arrived, and says so', async () => {
    await start({ runtime: null })
    const answer = await ask('GET', '/health/readiness')
    expect(answer.status).toBe(503)
    expect(answer.json).toMatchObject({ status: 'unhealthy', reason: 'no configuration has arrived yet' })
    expect(scene?.edge.ready()).toBe(false)
  })

  it('is ready with a configuration and a router, whatever became of accounting', async () => {
    await start()
    expect((await ask('GET', '/health/readiness')).json).toMatchObject({ status: 'healthy', db: 'connected' })
    scene?.accounting.beat({ db: 'disconnected' })
    const answer = await ask('GET', '/health/readiness')
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({ status: 'healthy', db: 'disconnected' })
    expect(scene?.edge.ready()).toBe(true)
  })

  it('is not ready without a router', async () => {
    await start()
    await scene?.router.close()
    expect((await ask('GET', '/health/readiness')).json).toMatchObject({ reason: 'no router is known' })
  })
})

describe('metrics', () => {
  it('count answered calls by key, model, route and status, failures by class', async () => {
    await start({
      route(stream) {
        const headers = { 'content-type': 'application/json', 'x-litellm-model-group': 'gpt-test', 'x-litellm-model-id': 'd1' }
        if (stream.body?.length === 2) stream.whole({ v: 1, status: 200, headers }, Buffer.from('{}'))
        else stream.fail({ code: 'rate_limited', message: 'no' })
      },
    })
    await ask('POST', '/v1/chat/completions', AUTH, '{}')
    await ask('POST', '/chat/completions', AUTH, '{"no":1}')
    const { body, head } = await ask('GET', '/metrics')
    expect(head).toContain('content-type: text/plain; version=0.0.4')
    const line = (name: string, status: string) =>
      body.split('\n').find((row) => row.startsWith(`${name}{`) && row.includes(status))
    expect(line('litellm_proxy_total_requests_metric_total', 'status_code="200"')).toMatch(
      /requested_model="gpt-test".*route="\/v1\/chat\/completions".*model_id="d1"\} 1$/,
    )
    expect(line('litellm_proxy_failed_requests_metric_total', 'exception_status="429"')).toMatch(
      /exception_class="RateLimitError".* 1$/,
    )
    expect(body).toMatch(/litellm_request_total_latency_metric_count\{.*\} 1\n/)
    expect(body).not.toContain(KEY)
  })

  it('need a key when the settings say so', async () => {
    await start({ runtime: runtimeOf([], { requireAuthForMetrics: true }) })
    expect((await ask('GET', '/metrics')).status).toBe(401)
    expect((await ask('GET', '/metrics', AUTH)).status).toBe(200)
  })
})

describe('anything else', () => {
  it('is carried to accounting with method, url, headers and body, and answered as accounting says', async () => {
    let seen: { message: AdminMessage; body: string } | null = null
    await start({
      manage(stream, message) {
        seen = { message, body: Buffer.from(stream.body ?? []).toString() }
        stream.start({ v: 1, status: 418, headers: { 'content-type': 'text/html', 'set-cookie': 'a=b', 'content-length': '6' } })
        stream.data(Buffer.from('tea '))
        stream.data(Buffer.from('ok'))
        stream.end()
      },
    })
    const answer = await ask('PUT', '/key/a%20b?x=1', { ...AUTH, cookie: 'token=1' }, '{"a":1}')
    expect(answer.status).toBe(418)
    expect(answer.body).toContain('tea ')
    expect(answer.head).toContain('set-cookie: a=b')
    expect(answer.head).toContain('content-type: text/html')
    expect(seen).toMatchObject({
      message: {
        method: 'PUT',
        url: '/key/a%20b?x=1',
        headers: { authorization: `Bearer ${KEY}`, cookie: 'token=1' },
        clientIp: '127.0.0.1',
      },
      body: '{"a":1}',
    })
  })

  it('is 503 while accounting is away', async () => {
    await start()
    const answer = await ask('GET', '/key/info', AUTH)
    expect(answer.status).toBe(503)
    expect(answer.head).toMatch(/retry-after: 1(\r\n|$)/)
    expect(answer.json).toMatchObject({ error: { type: 'no_db_connection', code: '503' } })
  })

  it('has a body of at most 10 MB', async () => {
    await start({ manage: (stream) => stream.whole({ v: 1, status: 200, headers: {} }, Buffer.from('no')) })
    const body = 'a'.repeat(10 * 1024 * 1024 + 1)
    expect((await ask('POST', '/key/generate', AUTH, body)).status).toBe(413)
  })
})

describe('methods and origins', () => {
  it('other than POST on a call get 405 with the one that is allowed', async () => {
    await start()
    const answer = await ask('GET', '/v1/chat/completions', AUTH)
    expect(answer.status).toBe(405)
    expect(answer.head).toMatch(/allow: POST(\r\n|$)/)
    expect((await ask('DELETE', '/v1/models', AUTH)).head).toMatch(/allow: GET, HEAD(\r\n|$)/)
  })

  it('are answered to a browser asking first, for any path', async () => {
    await start()
    const origin = {
      origin: 'https://app.test',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization',
    }
    const answer = await ask('OPTIONS', '/v1/chat/completions', origin)
    expect(answer.status).toBe(200)
    expect(answer.head).toContain('access-control-allow-origin: https://app.test')
    expect(answer.head).toContain('access-control-allow-headers: authorization')
    expect(answer.head).toContain('access-control-allow-credentials: true')
  })

  it('come back to a browser on answers and on errors', async () => {
    await start()
    const answer = await ask('GET', '/v1/models', { origin: 'https://app.test' })
    expect(answer.status).toBe(401)
    expect(answer.head).toContain('access-control-allow-origin: https://app.test')
    expect((await ask('GET', '/health/liveliness')).head).not.toContain('access-control')
  })
})
