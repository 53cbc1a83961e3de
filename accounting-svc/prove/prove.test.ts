import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CallMessage } from '../../proto/call.ts'
import type { RuntimeSnapshot } from '../../proto/deployment.ts'
import { QUEUE } from '../../proto/subjects.ts'
import type { TokenUsage, UsageEvent } from '../../proto/usage.ts'
import type { Bus, IncomingStream } from '../../shared/bus/bus.ts'
import { type AccountingFixture, attempt, configOf, event, startAccounting, usage } from '../gateway-fixture.ts'

const POSTGRES = process.env['TURNPIKE_TEST_POSTGRES_URL']
/** Nano-dollars: more than any planned call costs. */
const HOLD = 400

/** What a router gets wrong. */
interface Faults {
  admitsAll?: boolean
  reports?(report: UsageEvent): UsageEvent[]
}

let gateway: AccountingFixture
let bus: Bus
let faults: Faults
/** Runs when a call has come, before it is served. */
let onCall: () => void | Promise<void>

beforeEach(async () => {
  faults = {}
  onCall = () => undefined
  gateway = await startAccounting(POSTGRES)
  bus = gateway.hub.join('router')
  bus.serve(bus.subjects.call('default'), QUEUE.router, (stream) => void serve(stream))
})
afterEach(() => gateway.close())

/** A router as small as one can be: holds, forwards to the published deployment, settles, reports. Serves whole answers only. */
async function serve(stream: IncomingStream): Promise<void> {
  await onCall()
  const { callId, identity } = stream.head as CallMessage
  const body = JSON.parse(Buffer.from(stream.body as Uint8Array).toString()) as { model: string }
  const bucket = await bus.bucket(bus.subjects.runtimeBucket)
  const { deployments } = (await bucket.get('runtime')) as RuntimeSnapshot
  const deployment = deployments.find(({ modelGroup }) => modelGroup === body.model)
  if (deployment === undefined) throw new Error(`${body.model} is not published`)
  const limits = identity.limits.map(({ scope, budget = null, parallel = null, spent, revision }) => {
    return { scope, budget: faults.admitsAll ? null : budget, parallel, requests: null, tokens: null, spent, revision }
  })
  const { granted } = await gateway.counters.admit({ lease: callId, scopes: limits, tokens: 0, hold: HOLD })
  const about = {
    callId,
    keyHash: identity.keyHash,
    teamId: identity.teamId,
    tags: identity.tags,
    modelGroup: body.model,
    startedAt: Date.now(),
  }
  if (!granted) {
    await bus.append('router', [event({ ...about, outcome: 'failure', status: 429, attempts: [] })])
    const error = { type: 'budget_exceeded', message: 'Budget has been exceeded!' }
    return stream.whole({ v: 1, status: 429, headers: {} }, Buffer.from(JSON.stringify({ error })))
  }
  const { used, answer } = await forward(`${deployment.apiBase}/chat/completions`, stream.body as Uint8Array)
  const { id: deploymentId, provider, model } = deployment
  const report = event({ ...about, attempts: [attempt({ deploymentId, provider, model, usage: used, startedAt: Date.now() })] })
  // More than it costs: what the ledger books takes its place.
  await gateway.counters.settle(callId, { cost: HOLD, tokens: 0 })
  await bus.append('router', faults.reports?.(report) ?? [report])
  stream.whole({ v: 1, status: 200, headers: {} }, answer)
}

async function forward(url: string, body: Uint8Array): Promise<{ used: TokenUsage; answer: Uint8Array }> {
  for (;;) {
    const response = await fetch(url, { method: 'POST', body: body as Uint8Array<ArrayBuffer> })
    const answer = Buffer.from(await response.arrayBuffer())
    if (response.status === 500) continue
    const stated = (
      JSON.parse(answer.toString()) as { usage: Record<string, number> & { prompt_tokens_details: { cached_tokens: number } } }
    ).usage
    const used = usage({
      input: stated['prompt_tokens'] as number,
      output: stated['completion_tokens'] as number,
      cacheRead: stated.prompt_tokens_details.cached_tokens,
    })
    return { used, answer }
  }
}

interface Report {
  passed: boolean
  [field: string]: unknown
}

async function prove(fields: Record<string, unknown> = {}): Promise<Report> {
  const { status, body, text } = await gateway.call('POST', '/prove', {
    calls: 60,
    concurrency: 8,
    streams: 0,
    aborts: 0,
    ...fields,
  })
  expect({ status, text }).toMatchObject({ status: 200 })
  return body as Report
}

const ZEROS = { overspend: 0, lost: 0, duplicate: 0, cost_error: 0 }

describe('a run', () => {
  it('finds four zeros where a router does its work, and the budget holds', async () => {
    const report = await prove({ budget_share: 0.5 })
    expect(report).toMatchObject({ passed: true, ...ZEROS, problems: [], differences: [], ledger: { entries: 60 } })
    const { made, answered, refused } = report['calls'] as Record<string, number>
    expect(made).toBe(60)
    expect(refused).toBeGreaterThan(0)
    expect(answered).toBe(60 - (refused as number))
    expect(report['spent_nano']).toBeLessThanOrEqual(report['budget_nano'] as number)
    expect(report['spent_nano']).toBeGreaterThan(0)
  })

  it('finds a router that does not hold back at the budget', async () => {
    faults.admitsAll = true
    const report = await prove({ budget_share: 0.5 })
    expect(report).toMatchObject({ passed: false, ...ZEROS, overspend: expect.any(Number) })
    expect(report['overspend']).toBe((report['spent_nano'] as number) - (report['budget_nano'] as number))
    expect(report['overspend']).toBeGreaterThan(0)
  })

  it('finds a router that reports a call twice under another take', async () => {
    let left = 2
    faults.reports = (report) => (left-- > 0 ? [report, { ...report, take: 2 }] : [report])
    expect(await prove({ budget_share: 2 })).toMatchObject({ passed: false, ...ZEROS, duplicate: 2 })
  })

  it('does not mind a report that is delivered twice', async () => {
    faults.reports = (report) => [report, report]
    expect(await prove({ budget_share: 2 })).toMatchObject({ passed: true, ...ZEROS })
  })

  it('finds a router that reads one output token less than was stated', async () => {
    let left = 1
    faults.reports = (report) => {
      if (left-- <= 0) return [report]
      const [only] = report.attempts
      const used = only?.usage as TokenUsage
      return [{ ...report, attempts: [{ ...only, usage: { ...used, output: used.output - 1 } } as typeof only & object] }]
    }
    const report = await prove({ budget_share: 2 })
    // An output token costs 9.876543 nano-dollars.
    expect(report).toMatchObject({ passed: false, ...ZEROS, cost_error: expect.any(Number) })
    expect([9, 10]).toContain(report['cost_error'])
    expect((report['offenders'] as Record<string, string[]>)['cost_error']).toHaveLength(1)
  })

  it('says so when no call reached the provider', async () => {
    const report = await prove({ calls: 3, budget: 0.000000001 })
    expect(report).toMatchObject({ passed: false, ...ZEROS, calls: { refused: 3 } })
    expect(report['problems']).toEqual([expect.stringContaining('No call reached the provider')])
  })

  it('takes down what it made and keeps its entries, under their tag', async () => {
    const { id } = await prove({ calls: 5 })
    const snapshot = (await (await bus.bucket(bus.subjects.runtimeBucket)).get('runtime')) as RuntimeSnapshot
    expect(snapshot.deployments).toEqual([])
    expect(await gateway.test.db.query('select from keys')).toEqual([])
    expect(await gateway.test.db.query('select from teams')).toEqual([])
    expect(await gateway.test.db.query('select from leaders where name = $1', ['prove'])).toEqual([])
    const entries = await gateway.test.db.query<{ tags: string[]; model_group: string }>('select tags, model_group from ledger')
    expect(entries).toHaveLength(5)
    for (const entry of entries) expect(entry).toEqual({ tags: ['turnpike-prove'], model_group: `turnpike-prove-${id}` })
  })

  it('is the only one, and its deployment is in no list', async () => {
    let seen: unknown
    let second = 0
    onCall = async () => {
      onCall = () => undefined
      seen = (await gateway.call('GET', '/model/info')).body
      second = (await gateway.call('POST', '/prove', { calls: 1 })).status
    }
    expect(await prove({ calls: 10, concurrency: 1 })).toMatchObject({ passed: true })
    expect(seen).toEqual({ data: [] })
    expect(second).toBe(409)
    expect(await prove({ calls: 2 })).toMatchObject({ passed: true })
  })

  it('survives a new configuration that comes while it runs', async () => {
    onCall = async () => {
      onCall = () => undefined
      await gateway.accounting.reconfigure(configOf({ router_settings: { num_retries: 1 } }))
    }
    expect(await prove({ calls: 10, concurrency: 2 })).toMatchObject({ passed: true, ...ZEROS })
  })

  it('prices by discount and margin of the configuration, and compares with them', async () => {
    await gateway.close()
    gateway = await startAccounting(POSTGRES, {
      config: { litellm_settings: { cost_discount_config: { openai_like: 0.1 }, cost_margin_config: { global: 0.05 } } },
    })
    bus = gateway.hub.join('router')
    bus.serve(bus.subjects.call('default'), QUEUE.router, (stream) => void serve(stream))
    expect(await prove({ calls: 20 })).toMatchObject({ passed: true, ...ZEROS })
    const [{ version } = {}] = await gateway.test.db.query<{ version?: string }>(
      'select max(rate_version) as version from ledger',
    )
    expect(version).toMatch(/~100000:50000:0$/)
  })
})

describe('the route', () => {
  it('is for admins', async () => {
    const { body } = await gateway.call('POST', '/key/generate', {})
    const { key } = body as { key: string }
    expect((await gateway.call('POST', '/prove', {}, key)).status).toBe(401)
    expect((await gateway.call('POST', '/prove', {}, null)).status).toBe(401)
  })

  it('refuses what it cannot do', async () => {
    for (const fields of [{ calls: 0 }, { calls: 100_001 }, { concurrency: 0 }, { streams: 1.5 }, { budget: -1 }]) {
      expect((await gateway.call('POST', '/prove', fields)).status).toBe(422)
    }
  })
})
