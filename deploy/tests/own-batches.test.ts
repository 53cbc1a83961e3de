import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type BatchUpstream, startBatchUpstream } from './batch-upstream.ts'
import { type Gateway, type LedgerRow, MODES, openGateway } from './gateway.ts'

type Batch = OpenAI.Batches.Batch
interface Result {
  id: string
  custom_id: string
  response: {
    status_code: number
    request_id: string
    body: { choices: { message: { content: string } }[]; error?: unknown }
  } | null
  error: { code: string; message: string } | null
}

const ENDPOINT = '/v1/chat/completions'
/** Dollars an answer costs, at the prices below. */
const ANSWER_COST = 0.0012
const CONCURRENCY = 6

const line = (id: string, model: string, content: string): unknown => ({
  custom_id: id,
  method: 'POST',
  url: ENDPOINT,
  body: { model, messages: [{ role: 'user', content }], max_tokens: 100 },
})

/** Batches for models whose provider has none, through the official client. */
describe.each(MODES)('%s', (mode) => {
  let upstream: BatchUpstream
  let gateway: Gateway
  let mine: OpenAI
  let stranger: OpenAI
  let made = 0

  const clientOf = async (fields: Record<string, unknown> = {}): Promise<OpenAI> => {
    made += 1
    const { team_id } = (await gateway.admin('POST', '/team/new', { team_alias: `team-${made}` })) as { team_id: string }
    const apiKey = await gateway.generateKey({ team_id, ...fields })
    return new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey, maxRetries: 0 })
  }

  beforeAll(async () => {
    upstream = await startBatchUpstream()
    const deployment = (name: string, provider: string): unknown => ({
      model_name: name,
      litellm_params: {
        model: `${provider}/${name}`,
        api_base: upstream.url,
        api_key: 'k',
        input_cost_per_token: 0.000001,
        output_cost_per_token: 0.000002,
      },
    })
    const config = {
      model_list: [deployment('deep', 'deepseek'), deployment('wide', 'together_ai')],
      router_settings: { num_retries: 0, disable_cooldowns: true },
      litellm_settings: { num_retries: 0 },
      turnpike_settings: { batch_parallel_lines: CONCURRENCY },
    }
    gateway = await openGateway(mode, { config: JSON.stringify(config) })
    mine = await clientOf()
    stranger = await clientOf()
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })
  beforeEach(() => {
    upstream.answered.clear()
    upstream.delay = 5
    upstream.most = 0
    upstream.full = false
  })

  const uploaded = async (client: OpenAI, lines: readonly unknown[], fields: object = {}): Promise<string> => {
    const text = lines.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join('\n')
    const file = await client.files.create({ file: await toFile(Buffer.from(text), 'in.jsonl'), purpose: 'batch', ...fields })
    return file.id
  }
  const started = async (client: OpenAI, lines: readonly unknown[], window = '24h'): Promise<Batch> =>
    client.batches.create({
      input_file_id: await uploaded(client, lines),
      endpoint: ENDPOINT,
      completion_window: window as '24h',
    })
  const until = async (client: OpenAI, id: string, test: (batch: Batch) => boolean, limit = 60_000): Promise<Batch> => {
    let last: Batch | null = null
    await expect
      .poll(
        async () => {
          // Accounting may be away for a moment.
          last = await client.batches.retrieve(id).catch(() => last)
          return last !== null && test(last)
        },
        { timeout: limit, interval: 100 },
      )
      .toBe(true)
    return last as unknown as Batch
  }
  const ended = (client: OpenAI, id: string, limit?: number): Promise<Batch> =>
    until(client, id, ({ status }) => ['completed', 'failed', 'cancelled', 'expired'].includes(status), limit)
  const resultsIn = async (client: OpenAI, id: string | null | undefined): Promise<Result[]> => {
    if (id == null) return []
    const text = await (await client.files.content(id)).text()
    return text
      .split('\n')
      .filter((one) => one !== '')
      .map((one) => JSON.parse(one) as Result)
  }
  const rowsOf = async (client: OpenAI): Promise<LedgerRow[]> => {
    const hash = await gateway.hash(client.apiKey as string)
    const rows = (await gateway.admin('GET', `/spend/logs?api_key=${hash}`)) as LedgerRow[]
    return rows.filter(({ call_type }) => call_type === 'acompletion')
  }

  it('runs 300 lines over two models, and tells and books each once', async () => {
    const client = await clientOf()
    const kind = (n: number): string => (n % 10 === 3 ? 'bad' : n % 50 === 7 ? 'unsteady' : n % 50 === 9 ? 'busy' : 'fine')
    const lines = Array.from({ length: 300 }, (_, n) => line(`r${n}`, n % 2 === 0 ? 'deep' : 'wide', `${kind(n)} ${n}`))
    const batch = await started(client, lines)
    expect(batch).toMatchObject({ object: 'batch', status: 'validating', endpoint: ENDPOINT, completion_window: '24h' })
    const done = await ended(client, batch.id, 120_000)
    expect(done).toMatchObject({
      status: 'completed',
      input_file_id: batch.input_file_id,
      request_counts: { total: 300, completed: 270, failed: 30 },
    })
    const output = await resultsIn(client, done.output_file_id)
    const errors = await resultsIn(client, done.error_file_id)
    expect(new Set(output.map(({ custom_id }) => custom_id)).size).toBe(270)
    for (const { custom_id, response } of output) {
      const n = Number(custom_id.slice(1))
      expect(response?.status_code).toBe(200)
      expect(response?.body.choices[0]?.message.content).toBe(`echo ${kind(n)} ${n}`)
    }
    expect(errors.map(({ custom_id, response }) => [Number(custom_id.slice(1)) % 10, response?.status_code])).toEqual(
      Array.from({ length: 30 }, () => [3, 400]),
    )
    expect([...upstream.answered.values()].every((count) => count === 1)).toBe(true)
    expect(upstream.most).toBeLessThanOrEqual(CONCURRENCY)
    const paid = async (): Promise<LedgerRow[]> => (await rowsOf(client)).filter(({ spend }) => spend > 0)
    await expect.poll(async () => (await paid()).length, { timeout: 15_000 }).toBe(270)
    for (const { spend, session_id } of await paid()) {
      expect(spend).toBeCloseTo(ANSWER_COST, 12)
      expect(session_id).toMatch(/^batch_/)
    }
    expect((await client.batches.list()).data).toMatchObject([
      { id: batch.id, status: 'completed', output_file_id: done.output_file_id },
    ])
    expect((await client.files.list()).data.map(({ id }) => id).sort()).toEqual(
      [batch.input_file_id, done.output_file_id, done.error_file_id].sort(),
    )
  }, 180_000)

  it('shows nothing of it to another team', async () => {
    const batch = await started(mine, [line('a', 'deep', 'fine secret')])
    const done = await ended(mine, batch.id)
    const file = done.output_file_id as string
    const refused = await Promise.allSettled([
      stranger.batches.retrieve(batch.id),
      stranger.batches.cancel(batch.id),
      stranger.files.content(file),
      stranger.files.retrieve(file),
      stranger.files.delete(file),
      stranger.batches.create({ input_file_id: batch.input_file_id, endpoint: ENDPOINT, completion_window: '24h' }),
    ])
    expect(refused.map((one) => one.status === 'rejected' && one.reason.status)).toEqual(refused.map(() => 404))
    expect((await stranger.batches.list()).data).toEqual([])
    expect((await stranger.files.list()).data).toEqual([])
    expect(await mine.files.delete(file)).toMatchObject({ id: file, deleted: true })
    await expect(mine.files.content(file)).rejects.toMatchObject({ status: 404 })
  })

  it('asks the model named for the whole file, in the words of any endpoint', async () => {
    const message = { messages: [{ role: 'user', content: 'fine words' }], max_tokens: 50 }
    const of = (url: string, body: object): unknown => ({
      custom_id: 'a',
      method: 'POST',
      url,
      body: { model: 'theirs', ...body },
    })
    const bodies: Record<string, object> = {
      '/v1/messages': message,
      '/v1/responses': { input: 'fine words' },
    }
    const made = await Promise.all(
      Object.entries(bodies).map(async ([url, body]) => {
        const id = await uploaded(mine, [of(url, body)], { target_model_names: 'deep' })
        return mine.batches.create({ input_file_id: id, endpoint: url as '/v1/responses', completion_window: '24h' })
      }),
    )
    const listed = (await mine.batches.list()).data.slice(0, made.length).map(({ id }) => id)
    expect(listed.sort()).toEqual(made.map(({ id }) => id).sort())
    for (const { id } of made) {
      const done = await ended(mine, id)
      expect(done.request_counts).toEqual({ total: 1, completed: 1, failed: 0 })
      expect(JSON.stringify(await resultsIn(mine, done.output_file_id))).toContain('echo fine words')
    }
  })

  it('keeps 20 MB of input, and gives it back as it was', async () => {
    const lines = Array.from({ length: 40 }, (_, n) => line(`l${n}`, 'deep', 'x'.repeat(500_000)))
    const id = await uploaded(mine, lines)
    const text = await (await mine.files.content(id)).text()
    expect(text === lines.map((one) => JSON.stringify(one)).join('\n')).toBe(true)
    expect(await mine.files.retrieve(id)).toMatchObject({ id, bytes: text.length, status: 'processed' })
  })

  it('tells what is wrong with an input, line by line', async () => {
    const other = { ...(line('c', 'deep', 'x') as object), url: '/v1/embeddings' }
    // Without lines that say so, the client says whose it is.
    const id = await uploaded(mine, [line('a', 'deep', 'x'), '{"custom_id":', line('a', 'deep', 'x'), other], {
      custom_llm_provider: 'turnpike',
    })
    const batch = await mine.batches.create({ input_file_id: id, endpoint: ENDPOINT, completion_window: '24h' })
    const done = await ended(mine, batch.id)
    expect(done.status).toBe('failed')
    expect(done.errors?.data?.map(({ code, line: at, param }) => [code, at, param])).toEqual([
      ['invalid_json_line', 2, null],
      ['duplicate_custom_id', 3, 'custom_id'],
      ['invalid_url', 4, 'url'],
    ])
    expect(upstream.answered.size).toBe(0)
  })

  it('stops a batch that is cancelled, and keeps what it had', async () => {
    upstream.delay = 50
    const batch = await started(
      mine,
      Array.from({ length: 200 }, (_, n) => line(`c${n}`, 'deep', `fine c${n}`)),
    )
    await until(mine, batch.id, ({ request_counts }) => (request_counts?.completed ?? 0) >= 5)
    expect(['cancelling', 'cancelled']).toContain((await mine.batches.cancel(batch.id)).status)
    const done = await ended(mine, batch.id)
    expect(done.status).toBe('cancelled')
    const output = await resultsIn(mine, done.output_file_id)
    const unfinished = await resultsIn(mine, done.error_file_id)
    expect(output.length).toBe(done.request_counts?.completed)
    expect(output.length).toBe(upstream.answered.size)
    expect(output.length + unfinished.length).toBe(200)
    expect(new Set(unfinished.map(({ error }) => error?.code))).toEqual(new Set(['batch_cancelled']))
  })

  it('ends with the window, whatever is left', async () => {
    upstream.full = true
    const batch = await started(mine, [line('a', 'deep', 'fine late'), line('b', 'deep', 'fine later')], '3s')
    const done = await ended(mine, batch.id)
    expect(done).toMatchObject({ status: 'expired', output_file_id: null, request_counts: { total: 2, completed: 0, failed: 2 } })
    expect((await resultsIn(mine, done.error_file_id)).map(({ error }) => error?.code)).toEqual([
      'batch_expired',
      'batch_expired',
    ])
  })

  it('stops when the key is revoked or its budget is spent', async () => {
    upstream.delay = 50
    const revoked = await clientOf()
    const lines = Array.from({ length: 100 }, (_, n) => line(`k${n}`, 'deep', `fine k${n}`))
    const batch = await started(revoked, lines)
    await until(revoked, batch.id, ({ request_counts }) => (request_counts?.completed ?? 0) >= 1)
    await gateway.admin('POST', '/key/delete', { keys: [revoked.apiKey] })
    const admin = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.masterKey, maxRetries: 0 })
    const dead = await ended(admin, batch.id)
    expect(dead).toMatchObject({ status: 'failed', errors: { data: [{ code: 'invalid_api_key' }] } })

    const poor = await clientOf({ max_budget: ANSWER_COST * 4.5 })
    // Nothing is answered to whoever has no budget left.
    const spent = await ended(admin, (await started(poor, lines)).id)
    expect(spent).toMatchObject({ status: 'failed', errors: { data: [{ code: 'budget_exceeded' }] } })
    // Those under way when it was spent come on top: the provider counts more tokens than the request looks like.
    expect(spent.request_counts?.completed).toBeGreaterThanOrEqual(4)
    expect(spent.request_counts?.completed).toBeLessThanOrEqual(4 + CONCURRENCY)
  }, 90_000)

  const survives = async (): Promise<void> => {
    const { cluster } = gateway
    if (cluster === null) throw new Error('this needs a cluster')
    upstream.delay = 150
    const client = await clientOf()
    const batch = await started(
      client,
      Array.from({ length: 150 }, (_, n) => line(`d${n}`, 'deep', `fine d${n}`)),
    )
    const doneAtLeast = (count: number): Promise<Batch> =>
      until(client, batch.id, ({ request_counts }) => (request_counts?.completed ?? 0) >= count)
    await doneAtLeast(15)
    await cluster.kill('accounting', 0)
    await cluster.restart('accounting', 0)
    await doneAtLeast(60)
    await cluster.kill('router', 0)
    await doneAtLeast(80)
    await cluster.restart('router', 0)
    const done = await ended(client, batch.id, 120_000)
    expect(done).toMatchObject({ status: 'completed', request_counts: { total: 150, completed: 150, failed: 0 } })
    const output = await resultsIn(client, done.output_file_id)
    expect(output.map(({ custom_id }) => custom_id)).toEqual(Array.from({ length: 150 }, (_, n) => `d${n}`))
    // Only what a dead router had under way was asked for twice: what was answered while accounting was away was kept for it.
    expect([...upstream.answered.values()].filter((count) => count > 1).length).toBeLessThanOrEqual(CONCURRENCY)
    const answers = async (): Promise<LedgerRow[]> => (await rowsOf(client)).filter(({ status }) => status === 'success')
    const paid = async (): Promise<unknown[]> =>
      (await answers())
        .filter(({ spend }) => spend > 0)
        .map(({ metadata }) => (metadata as Record<string, unknown>)['batch_custom_id'])
    await expect.poll(async () => (await paid()).length, { timeout: 20_000 }).toBe(150)
    expect(new Set(await paid()).size).toBe(150)
    const total = (await answers()).reduce((sum, { spend }) => sum + spend, 0)
    expect(total).toBeCloseTo(150 * ANSWER_COST, 9)
  }
  if (mode === 'cluster') it('goes on when accounting and a router are killed in the middle', survives, 240_000)
})
