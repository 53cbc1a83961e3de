import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { type Gateway, MODES, type ModeName, openGateway } from './gateway.ts'

/** A call costs a cent, whatever it says; `tokens` is $1 for a thousand output tokens. */
const configFor = (url: string) => `
model_list:
  - model_name: cent
    litellm_params: { model: openai/gpt-scripted, api_base: '${url}/v1', api_key: k, input_cost_per_request: 0.01 }
  - model_name: tokens
    litellm_params: { model: openai/gpt-scripted, api_base: '${url}/v1', api_key: k, input_cost_per_token: 0, output_cost_per_token: 0.001 }
`

interface Answer {
  status: number
  headers: Headers
  text: string
}

interface Body extends Record<string, unknown> {
  text?: string
}

/** A call as a client makes it: one told that the gateway is at capacity (503) comes again, everything else is the answer. */
async function chat(gateway: Gateway, key: string, body: Body, headers: Record<string, string> = {}): Promise<Answer> {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await once(gateway, key, body, headers)
    if (answer.status !== 503 || attempt === 20) return answer
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

async function once(
  gateway: Gateway,
  key: string,
  { text = 'hi', ...fields }: Body,
  headers: Record<string, string>,
): Promise<Answer> {
  const urls = gateway.cluster?.urls ?? [gateway.url]
  const response = await fetch(`${urls[Math.floor(Math.random() * urls.length)]}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'cent', messages: [{ role: 'user', content: text }], ...fields }),
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

/** A call that reserves 47 tokens: 51 bytes of text and names, four a token, four for the message, and 30 of output. It uses as many as said. */
function scriptedTokens(prompt: number, completion: number): Body {
  return { text: `[[upstream prompt=${prompt},completion=${String(completion).padStart(2, '0')}]]`, max_tokens: 30 }
}

/** How many answers of each status. */
function statuses(answers: Answer[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

/** Asks until `read` gives `wanted`, at most ten seconds; the last answer either way. */
async function eventually<Value>(read: () => Promise<Value>, wanted: Value): Promise<Value> {
  const until = Date.now() + 10_000
  for (;;) {
    const value = await read()
    if (value === wanted || Date.now() > until) return value
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

interface Scope {
  name: string
  /** Makes the owner with a budget, and what a call must bring to fall under it. */
  make(gateway: Gateway, budget: number): Promise<{ key: string; body: Body; id: string }>
  /** What the management API says was spent, dollars. */
  spent(gateway: Gateway, id: string): Promise<number>
}

let sequence = 0
const fresh = (name: string) => `${name}-${++sequence}`
const get = async (gateway: Gateway, path: string) => (await gateway.admin('GET', path)) as Record<string, never>

const SCOPES: Scope[] = [
  {
    name: 'key',
    async make(gateway, budget) {
      const key = await gateway.generateKey({ max_budget: budget })
      return { key, body: {}, id: key }
    },
    spent: async (gateway, id) => (await get(gateway, `/key/info?key=${id}`))['info']?.['spend'] as unknown as number,
  },
  {
    name: 'team',
    async make(gateway, budget) {
      const id = fresh('team')
      await gateway.admin('POST', '/team/new', { team_id: id, max_budget: budget })
      return { key: await gateway.generateKey({ team_id: id }), body: {}, id }
    },
    spent: async (gateway, id) => (await get(gateway, `/team/info?team_id=${id}`))['team_info']?.['spend'] as unknown as number,
  },
  {
    name: 'user',
    async make(gateway, budget) {
      const id = fresh('user')
      await gateway.admin('POST', '/user/new', { user_id: id, max_budget: budget, auto_create_key: false })
      return { key: await gateway.generateKey({ user_id: id }), body: {}, id }
    },
    spent: async (gateway, id) => (await get(gateway, `/user/info?user_id=${id}`))['user_info']?.['spend'] as unknown as number,
  },
  {
    name: 'organization',
    async make(gateway, budget) {
      const id = fresh('organization')
      await gateway.admin('POST', '/organization/new', { organization_id: id, organization_alias: id, max_budget: budget })
      return { key: await gateway.generateKey({ organization_id: id }), body: {}, id }
    },
    spent: async (gateway, id) => (await get(gateway, `/organization/info?organization_id=${id}`))['spend'] as unknown as number,
  },
  {
    name: 'tag',
    async make(gateway, budget) {
      const id = fresh('tag')
      await gateway.admin('POST', '/tag/new', { name: id, max_budget: budget })
      return { key: await gateway.generateKey({}), body: { tags: [id] }, id }
    },
    async spent(gateway, id) {
      const tags = (await gateway.admin('GET', '/tag/list')) as { name: string; spend: number }[]
      return tags.find(({ name }) => name === id)?.spend ?? Number.NaN
    },
  },
  {
    name: 'customer',
    async make(gateway, budget) {
      const id = fresh('customer')
      await gateway.admin('POST', '/customer/new', { user_id: id, max_budget: budget })
      return { key: await gateway.generateKey({}), body: { user: id }, id }
    },
    spent: async (gateway, id) => (await get(gateway, `/customer/info?end_user_id=${id}`))['spend'] as unknown as number,
  },
]

async function holdsBudget(gateway: Gateway, scope: Scope): Promise<void> {
  const { key, body, id } = await scope.make(gateway, 5)
  const answers = await Promise.all(Array.from({ length: 1_000 }, () => chat(gateway, key, body)))
  const counts = Map.groupBy(answers, ({ status }) => status)
  const others = answers.filter(({ status }) => status !== 200 && status !== 429)
  expect(others.map(({ text }) => text)).toEqual([])
  expect(counts.get(200)?.length).toBe(500)
  expect(counts.get(429)?.every(({ text }) => JSON.parse(text).error.type === 'budget_exceeded')).toBe(true)
  expect(await eventually(() => scope.spent(gateway, id), 5)).toBe(5)
  expect((await chat(gateway, key, body)).status).toBe(429)
}

describe.each(MODES)('money, %s', (mode: ModeName) => {
  let upstream: Upstream
  let gateway: Gateway

  beforeAll(async () => {
    upstream = await startUpstream()
    gateway = await openGateway(mode, { config: configFor(upstream.url) })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  it.each(SCOPES)(
    'lets exactly 500 of 1,000 concurrent calls of a cent into a budget of five dollars of a $name, and books all of it',
    (scope) => holdsBudget(gateway, scope),
    60_000,
  )

  it('lets exactly as many requests pass as a minute allows, concurrent or not', async () => {
    const key = await gateway.generateKey({ rpm_limit: 100 })
    const answers = await Promise.all(Array.from({ length: 300 }, () => chat(gateway, key, {})))
    expect(statuses(answers)).toEqual({ 200: 100, 429: 200 })
    const refused = answers.find(({ status }) => status === 429) as Answer
    expect(JSON.parse(refused.text).error.message).toContain(
      `Rate limit exceeded for api_key: ${await gateway.hash(key)}. Limit type: requests. Current limit: 100, Remaining: 0.`,
    )
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(refused.headers.get('rate_limit_type')).toBe('requests')
  })

  it('never passes a token limit, and refuses nothing that fits', async () => {
    const call = scriptedTokens(17, 30)
    // Used as reserved, so it does not matter which calls are over when the last comes.
    const key = await gateway.generateKey({ tpm_limit: 20 * 47 })
    const answers = await Promise.all(Array.from({ length: 60 }, () => chat(gateway, key, call)))
    expect(statuses(answers)).toEqual({ 200: 20, 429: 40 })
  })

  it('gives back the tokens that a call reserved and did not use', async () => {
    const call = scriptedTokens(17, 3)
    const key = await gateway.generateKey({ tpm_limit: 47 + 9 * 20 })
    const served = async () => (await chat(gateway, key, call)).status === 200
    for (let count = 0; count < 10; count += 1) expect(await eventually(served, true)).toBe(true)
    // 200 are used, and 27 left.
    expect((await chat(gateway, key, call)).status).toBe(429)
  })

  it('serves no more calls at once than allowed, and the next when one is over', async () => {
    const key = await gateway.generateKey({ max_parallel_requests: 5 })
    const slow = { text: '[[upstream latency=400]]' }
    const answers = await Promise.all(Array.from({ length: 12 }, () => chat(gateway, key, slow)))
    expect(statuses(answers)).toEqual({ 200: 5, 429: 7 })
    expect((await chat(gateway, key, slow)).status).toBe(200)
  })

  it('tells a key what it has left', async () => {
    const key = await gateway.generateKey({ rpm_limit: 10, max_budget: 1 })
    await chat(gateway, key, {})
    const { headers } = await chat(gateway, key, {})
    expect(headers.get('x-ratelimit-api_key-limit-requests')).toBe('10')
    expect(headers.get('x-ratelimit-api_key-remaining-requests')).toBe('8')
    expect(headers.get('x-ratelimit-remaining-requests')).toBe('8')
    expect(headers.get('x-litellm-key-max-budget')).toBe('1')
    expect(headers.get('x-litellm-response-cost')).toBe('0.01')
  })

  it('takes a raised budget and a blocked key into account on every edge within a second', async () => {
    const key = await gateway.generateKey({ max_budget: 0.01 })
    expect((await chat(gateway, key, {})).status).toBe(200)
    expect((await chat(gateway, key, {})).status).toBe(429)
    await gateway.admin('POST', '/key/update', { key, max_budget: 0.02 })
    const until = Date.now() + 1_000
    let raised = await chat(gateway, key, {})
    while (raised.status !== 200 && Date.now() < until) raised = await chat(gateway, key, {})
    expect(raised.status).toBe(200)
    await gateway.admin('POST', '/key/block', { key })
    const blocked = Date.now() + 1_000
    let refused = await chat(gateway, key, {})
    while (refused.status !== 401 && Date.now() < blocked) refused = await chat(gateway, key, {})
    expect(refused.status).toBe(401)
  })

  it('ends a running stream within the cap of its run, says why, and bills no more than the cap', async () => {
    const key = await gateway.generateKey({})
    const run = { 'x-run-id': fresh('run'), 'x-run-cap': '0.05' }
    const body = { model: 'tokens', stream: true, max_tokens: 400, text: '[[upstream chunks=400,interval=2]]' }
    const cut = await chat(gateway, key, body, run)
    expect(cut.status).toBe(200)
    expect(cut.text).toContain('The cap of run')
    expect(cut.text).not.toContain('[DONE]')
    // A token is a tenth of a cent: fifty of them, and never the fifty-first.
    const deltas = cut.text.split('\n').filter((line) => line.includes('"content"')).length
    expect(deltas).toBeGreaterThan(30)
    expect(deltas).toBeLessThanOrEqual(51)
    const [row] = await gateway.ledger(cut.headers.get('x-litellm-call-id') as string)
    expect(row?.spend).toBeLessThanOrEqual(0.051)
    const next = await chat(gateway, key, { ...body, max_tokens: 100 }, run)
    expect([200, 429]).toContain(next.status)
  })

  it('answers a repeated call from what it kept, bills it once, and refuses the key for another body', async () => {
    const key = await gateway.generateKey({})
    const once = { 'idempotency-key': fresh('once') }
    const first = await chat(gateway, key, { text: `one [[upstream id=${once['idempotency-key']}]]` }, once)
    const again = await chat(gateway, key, { text: `one [[upstream id=${once['idempotency-key']}]]` }, once)
    expect([first.status, again.status]).toEqual([200, 200])
    expect(again.text).toBe(first.text)
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(upstream.served(once['idempotency-key'])).toHaveLength(1)
    expect((await chat(gateway, key, { text: 'two' }, once)).status).toBe(409)
    const stranger = await gateway.generateKey({})
    expect((await chat(gateway, stranger, { text: 'two' }, once)).status).toBe(200)
    expect(await eventually(() => SCOPES[0]?.spent(gateway, key) as Promise<number>, 0.01)).toBe(0.01)
  })

  it('bills a stream left at any chunk for what was delivered, marked as estimated, or for what the provider said', async () => {
    const key = await gateway.generateKey({})
    const chunks = 12
    const calls = Array.from({ length: chunks + 1 }, async (_, leaveAt) => {
      const controller = new AbortController()
      const response = await fetch(`${gateway.url}/v1/chat/completions`, {
        method: 'POST',
        signal: controller.signal,
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({
          model: 'tokens',
          stream: true,
          messages: [{ role: 'user', content: `[[upstream chunks=${chunks},interval=60,prompt=40,completion=${chunks}]]` }],
        }),
      })
      const id = response.headers.get('x-litellm-call-id') as string
      let seen = 0
      try {
        for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
          seen +=
            Buffer.from(part)
              .toString()
              .match(/"content":"[^"]/g)?.length ?? 0
          if (seen >= leaveAt) break
        }
      } catch {
        // Left in the middle.
      }
      controller.abort()
      const [row, ...more] = await gateway.ledger(id)
      return { leaveAt, seen, row, more }
    })
    let left = 0
    for (const { leaveAt, seen, row, more } of await Promise.all(calls)) {
      expect(more, `left at ${leaveAt}`).toEqual([])
      const { estimated } = (row as unknown as { metadata: { turnpike: { estimated: boolean } } }).metadata.turnpike
      if (estimated) {
        // Left before the provider stated anything: what went through, and the gateway may have read further than the client.
        left += 1
        expect(row?.completion_tokens, `left at ${leaveAt}`).toBeGreaterThanOrEqual(seen)
        expect(row?.completion_tokens, `left at ${leaveAt}`).toBeLessThanOrEqual(chunks)
        expect(row?.prompt_tokens).toBeGreaterThan(0)
      } else expect(row, `left at ${leaveAt}`).toMatchObject({ prompt_tokens: 40, completion_tokens: chunks })
    }
    expect(left).toBeGreaterThan(2)
  }, 30_000)
})

describe.each([1, 4])('money in a cluster of %d routers', (routers) => {
  let upstream: Upstream
  let gateway: Gateway

  beforeAll(async () => {
    upstream = await startUpstream()
    gateway = await openGateway('cluster', { config: configFor(upstream.url), routers })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  it('holds a budget exactly under 1,000 concurrent calls', () => holdsBudget(gateway, SCOPES[0] as Scope), 60_000)
})
