import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { type Gateway, type LedgerRow, MODES, openGateway } from './gateway.ts'
import { routingConfig } from './routing-groups.ts'

type Fields = Record<string, unknown>

interface Ask {
  /** For every site, and for single ones. */
  script?: string
  at?: Record<string, string>
  key?: string
  headers?: Record<string, string>
  /** Which edge; they take turns otherwise. */
  edge?: number
  body?: Fields
  messages?: { role: 'user' | 'system' | 'assistant'; content: string }[]
  signal?: AbortSignal
}

/** Of `/router/state`. */
interface State {
  id: string
  routers: Record<string, { healthy: boolean }>
}

interface Answered {
  status: number
  headers: Headers
  body: { choices?: { message: { content: string } }[]; error?: { message: string; type: string; code: string } } & Fields
  /** Sites that were called, in this order. */
  sites: string[]
  /** Upstream's record of the call. */
  id: string
}

/** What `config.yaml` says of routing, in LiteLLM's words, is what clients and providers meet. */
describe.each(MODES)('routing, %s', (mode) => {
  const folder = mkdtempSync(join(tmpdir(), 'turnpike-routing-'))
  const wait = { timeout: 5_000, interval: 50 }
  /** In which routers know what one of them learnt. */
  const second = { timeout: 1_000, interval: 20 }
  let upstream: Upstream
  let gateway: Gateway
  let openai: OpenAI
  let calls = 0

  beforeAll(async () => {
    upstream = await startUpstream()
    const custom = join(folder, 'strategy.js')
    writeFileSync(
      custom,
      'export default { choose: (candidates) => candidates.find(({ info }) => info.chosen) ?? candidates[0] }\n',
    )
    gateway = await openGateway(mode, { config: routingConfig(upstream.url, custom) })
    openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.masterKey, maxRetries: 0 })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const newId = (): string => {
    calls += 1
    return `${mode}-${calls}`
  }
  const sitesOf = (id: string): string[] => upstream.served(id).map(({ site }) => site)

  /** The text that makes the provider behave. */
  function marked(id: string, { script = '', at = {} }: Pick<Ask, 'script' | 'at'>): string {
    const single = Object.entries(at).map(([site, text]) => `[[upstream@${site} ${text}]]`)
    return [`hello [[upstream id=${id}${script === '' ? '' : `,${script}`}]]`, ...single].join(' ')
  }

  async function ask(model: string, options: Ask = {}): Promise<Answered> {
    const id = newId()
    const { key = gateway.masterKey, headers = {}, edge = calls, body = {}, messages = [], signal } = options
    const urls = gateway.cluster?.urls ?? [gateway.url]
    const response = await fetch(`${urls[edge % urls.length]}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify({
        model,
        messages: [...messages, { role: 'user', content: marked(id, options) }],
        max_tokens: 5,
        ...body,
      }),
      signal: signal ?? AbortSignal.timeout(20_000),
    })
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Answered['body'],
      sites: sitesOf(id),
      id,
    }
  }

  /** How many of `count` calls went where. */
  async function spread(count: number, model: string, options: Ask = {}): Promise<Record<string, number>> {
    const answers = await Promise.all(Array.from({ length: count }, () => ask(model, options)))
    const found: Record<string, number> = {}
    for (const { status, sites } of answers) {
      expect(status).toBe(200)
      const name = sites.join(' ')
      found[name] = (found[name] ?? 0) + 1
    }
    return found
  }

  describe('which deployment', () => {
    it('shares calls out by weight, and by rpm where there is none', async () => {
      const { weighted1 = 0, weighted2 = 0, ...others } = await spread(300, 'weighted')
      expect(others).toEqual({})
      // Five standard deviations of 300 × ¾.
      expect(Math.abs(weighted1 - 225)).toBeLessThan(38)
      expect(weighted1 + weighted2).toBe(300)
      const { rpm1 = 0, rpm2 = 0 } = await spread(200, 'by-rpm')
      expect(Math.abs(rpm2 - 20)).toBeLessThan(20)
      expect(rpm1 + rpm2).toBe(200)
    })

    it('keeps to the lowest order, goes to the next when it fails, and to fallbacks last', async () => {
      expect(await spread(10, 'ordered')).toEqual({ ordered1: 10 })
      const second = await ask('ordered', { at: { ordered1: 'fail=500' } })
      expect(second).toMatchObject({ status: 200, sites: ['ordered1', 'ordered2'] })
      expect(second.headers.get('x-litellm-model-id')).toBe('ordered2')
      expect(second.headers.get('x-litellm-attempted-fallbacks')).toBe('0')
      const last = await ask('ordered', { at: { ordered1: 'fail=500', ordered2: 'fail=500' } })
      expect(last).toMatchObject({ status: 200, sites: ['ordered1', 'ordered2', 'spare1'] })
      expect(last.headers.get('x-litellm-attempted-fallbacks')).toBe('1')
    })

    it('takes the most specific wildcard, and sends the provider what it captured', async () => {
      for (const [asked, site, sent] of [
        ['wild/claude-x', 'wild1', 'claude-x'],
        ['wild/gpt-4', 'wild2', 'mini-4'],
        ['two/a/x-b', 'wild3', 'a-of-b'],
      ] as const) {
        const { sites, id } = await ask(asked)
        expect(sites).toEqual([site])
        expect(upstream.served(id)[0]?.model).toBe(sent)
      }
      expect((await ask('two/a/y-b')).status).toBe(400)
    })

    it('knows aliases, lists those that are not hidden, and takes a deployment by its id', async () => {
      expect((await ask('nick')).sites).toEqual(['plain1'])
      expect((await ask('secret')).sites).toEqual(['plain1'])
      const names = (await openai.models.list()).data.map(({ id }) => id)
      expect(names).toContain('nick')
      expect(names).not.toContain('secret')
      expect(await spread(5, 'weighted2')).toEqual({ weighted2: 5 })
    })

    it('gives a team its own models under their public names, and nobody else', async () => {
      await gateway.admin('POST', '/team/new', { team_id: 'house-team' })
      const key = await gateway.generateKey({ team_id: 'house-team' })
      const stranger = await gateway.generateKey({})
      expect(await spread(5, 'house', { key })).toEqual({ 'house-team': 5 })
      expect(await spread(5, 'house', { key: stranger })).toEqual({ 'house-open': 5 })
      expect((await ask('guest', { key })).sites).toEqual(['guest-team'])
      expect((await ask('guest', { key: stranger })).status).toBe(400)
      expect((await ask('guest-internal', { key: stranger })).status).toBe(400)
      expect((await ask('guest-team', { key: stranger })).status).toBe(400)
      const listed = async (apiKey: string): Promise<string[]> =>
        (await new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey }).models.list()).data.map(({ id }) => id)
      expect(await listed(key)).toEqual(expect.arrayContaining(['guest', 'house']))
      expect(await listed(stranger)).not.toContain('guest')
    })

    it('fits tags: any of them, all of them, the default ones, or 401', async () => {
      const tagged = (tags: string[], fields: Ask = {}): Promise<Record<string, number>> =>
        spread(6, 'tagged', { body: { tags }, ...fields })
      expect(await tagged(['paid', 'unheard'])).toEqual({ 'tagged-paid': 6 })
      expect(await tagged([], { body: { metadata: { tags: ['free'] } } })).toEqual({ 'tagged-free': 6 })
      expect(await tagged([], { body: {}, headers: { 'x-litellm-tags': 'free' } })).toEqual({ 'tagged-free': 6 })
      expect(await tagged(['unheard'])).toEqual({ 'tagged-default': 6 })
      expect(await spread(6, 'tagged')).toEqual({ 'tagged-default': 6 })
      const key = await gateway.generateKey({ router_settings: { tag_filtering_match_any: false } })
      expect(await tagged(['paid', 'eu'], { key })).toEqual({ 'tagged-paid': 6 })
      expect(await tagged(['paid', 'unheard'], { key })).toEqual({ 'tagged-default': 6 })
      const own = await gateway.generateKey({ tags: ['paid'] })
      expect(await spread(6, 'tagged', { key: own })).toEqual({ 'tagged-paid': 6 })
      const none = await ask('tagged-only', { body: { tags: ['paid'] } })
      expect(none).toMatchObject({ status: 401, sites: [] })
      expect(none.body.error?.message).toContain('Not allowed to access model due to tags configuration')
      expect(await spread(6, 'agents', { headers: { 'user-agent': 'claude-code/1.2' } })).toEqual({ 'agents-code': 6 })
      expect(await spread(6, 'agents', { headers: { 'user-agent': 'curl/8' } })).toEqual({ 'agents-others': 6 })
    })

    it('stays in the region that a key, a request or a customer allows', async () => {
      await gateway.admin('POST', '/customer/new', { user_id: 'european', allowed_model_region: 'eu' })
      // The first customer with anything of its own is news to the routers.
      await expect.poll(() => spread(10, 'regional', { body: { user: 'european' } }), wait).toEqual({ 'regional-eu': 10 })
      expect(await spread(10, 'regional', { body: { user: 'european' } })).toEqual({ 'regional-eu': 10 })
      const key = await gateway.generateKey({ metadata: { allowed_model_region: 'eu' } })
      expect(await spread(10, 'regional', { key })).toEqual({ 'regional-eu': 10 })
      expect(await spread(10, 'regional', { body: { allowed_model_region: 'us' } })).toEqual({ 'regional-us': 10 })
      expect(await ask('regional', { key, body: { allowed_model_region: 'us' } })).toMatchObject({ status: 403, sites: [] })
    })

    it('checks the context window before it calls', async () => {
      const messages = [{ role: 'user' as const, content: 'a word and another '.repeat(50) }]
      expect(await spread(10, 'windowed', { messages })).toEqual({ 'window-large': 10 })
      expect(Object.keys(await spread(20, 'windowed')).sort()).toEqual(['window-large', 'window-small'])
      const refused = await ask('narrow', { messages })
      expect(refused).toMatchObject({ status: 400, sites: [] })
      expect(refused.body.error?.message).toContain('ContextWindowExceededError')
      expect(await ask('narrow-saved', { messages })).toMatchObject({ status: 200, sites: ['spare1'] })
    })

    it('leaves out what a health check found ill', async () => {
      const found = (await gateway.admin('GET', '/health?model=checked')) as { unhealthy_endpoints: { model_id: string }[] }
      expect(found.unhealthy_endpoints.map(({ model_id }) => model_id)).toEqual(['checked-sick'])
      // Every router says so.
      const ill = async (): Promise<string[]> => {
        const { deployments } = (await gateway.admin('GET', '/router/state?model=checked')) as { deployments: State[] }
        return deployments.flatMap(({ id, routers }) => Object.values(routers).flatMap(({ healthy }) => (healthy ? [] : [id])))
      }
      await expect.poll(ill, wait).toEqual(Array(mode === 'cluster' ? 2 : 1).fill('checked-sick'))
      expect(await spread(20, 'checked')).toEqual({ 'checked-well': 20 })
      // It was ill once only: the next check finds it well.
      await gateway.admin('GET', '/health?model=checked')
      await expect.poll(ill, wait).toEqual([])
      expect(Object.keys(await spread(20, 'checked')).sort()).toEqual(['checked-sick', 'checked-well'])
    })

    it('follows a strategy of the operator’s own', async () => {
      const key = await gateway.generateKey({ router_settings: { routing_strategy: 'custom' } })
      await expect.poll(() => spread(10, 'own-way', { key }), wait).toEqual({ 'own-way2': 10 })
    })
  })

  describe('by which strategy', () => {
    const keyFor = (routing_strategy: string): Promise<string> => gateway.generateKey({ router_settings: { routing_strategy } })

    it('latency-based-routing takes the fastest, once each has been tried', async () => {
      const key = await keyFor('latency-based-routing')
      await expect.poll(() => spread(6, 'fast', { key }), wait).toEqual({ fast2: 6 })
      // That is more than luck.
      expect(await spread(20, 'fast', { key })).toEqual({ fast2: 20 })
    })

    it('least-busy takes the one with the fewest calls', async () => {
      const key = await keyFor('least-busy')
      const sites: string[] = []
      const running: Promise<Answered>[] = []
      for (let index = 0; index < 6; index += 1) {
        const before = upstream.stats().active
        running.push(ask('busy', { key, edge: 0, script: 'latency=1000' }))
        await upstream.when(({ active }) => active > before)
      }
      for (const { sites: called } of await Promise.all(running)) sites.push(...called)
      // Routers tell each other once a second.
      const expected = ['busy1', 'busy1', 'busy2', 'busy2', 'busy3', 'busy3']
      if (mode === 'embedded') expect(sites.sort()).toEqual(expected)
      else expect(new Set(sites).size).toBe(3)
    })

    it('usage-based-routing-v2 holds the limits of deployments exactly, over all routers', async () => {
      // The alias tells which routers have the settings.
      const settings = { routing_strategy: 'usage-based-routing-v2', model_group_alias: { marker: 'plain' } }
      await gateway.admin('POST', '/config/update', { router_settings: settings })
      const known = async (): Promise<number[]> =>
        (await Promise.all(Array.from({ length: 12 }, () => ask('marker')))).map(({ status }) => status)
      await expect.poll(known, wait).toEqual(Array(12).fill(200))
      // Not where one minute ends and the next begins.
      await expect.poll(() => 60_000 - (Date.now() % 60_000), wait).toBeGreaterThan(2_000)
      const answers = await Promise.all(Array.from({ length: 8 }, () => ask('counted')))
      const nothing = Object.fromEntries(Object.keys(settings).map((name) => [name, null]))
      await gateway.admin('POST', '/config/update', { router_settings: nothing })
      const sites = answers.flatMap(({ sites: called }) => called).sort()
      expect(sites).toEqual(['counted1', 'counted1', 'counted2', 'counted2', 'counted2'])
      const refused = answers.filter(({ status }) => status !== 200)
      expect(refused.map(({ status }) => status)).toEqual([429, 429, 429])
      for (const { headers } of refused) expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
      await expect.poll(known, wait).toEqual(Array(12).fill(400))
    })
  })

  describe('when one fails', () => {
    it('tries again as the policy of its group says, elsewhere and at once', async () => {
      const failing = (text: string): Promise<Answered> => ask('policy', { script: text })
      const since = performance.now()
      const four = await failing('fail=500')
      expect(four.status).toBe(500)
      expect([...four.sites].sort()).toEqual(['policy1', 'policy2', 'policy3', 'policy4'])
      expect(four.headers.get('x-litellm-attempted-retries')).toBe('3')
      expect(four.body.error?.message).toContain('LiteLLM Retried: 3 times, LiteLLM Max Retries: 3')
      expect(performance.now() - since).toBeLessThan(1_500)
      expect((await failing('fail=400')).sites).toHaveLength(2)
      expect((await failing('fail=429')).sites).toHaveLength(1)
    })

    it('tries as often as a request, a header or a key says', async () => {
      const once = { script: 'fail=500x1' }
      const retried = await ask('retried', { ...once, body: { num_retries: 1 } })
      expect(retried).toMatchObject({ status: 200, sites: [expect.any(String), expect.any(String)] })
      expect(retried.sites[0]).not.toBe(retried.sites[1])
      expect(retried.headers.get('x-litellm-attempted-retries')).toBe('1')
      expect(await ask('retried', { ...once, headers: { 'x-litellm-num-retries': '1' } })).toMatchObject({ status: 200 })
      const key = await gateway.generateKey({ router_settings: { num_retries: 1 } })
      expect(await ask('retried', { ...once, key })).toMatchObject({ status: 200 })
      const policy = await gateway.generateKey({ router_settings: { retry_policy: { InternalServerErrorRetries: 1 } } })
      expect(await ask('retried', { ...once, key: policy })).toMatchObject({ status: 200 })
      expect(await ask('retried', once)).toMatchObject({ status: 500, sites: [expect.any(String)] })
    })

    it('ends a call at the time limit of a request, a header, a key or its team', async () => {
      await gateway.admin('POST', '/team/new', { team_id: 'hurried', router_settings: { timeout: 0.2 } })
      const key = await gateway.generateKey({ router_settings: { timeout: 0.2 } })
      const ofTeam = await gateway.generateKey({ team_id: 'hurried' })
      const asks: Ask[] = [{ body: { timeout: 0.2 } }, { headers: { 'x-litellm-timeout': '0.2' } }, { key }, { key: ofTeam }]
      for (const options of asks) {
        const since = performance.now()
        expect(await ask('alone', { script: 'latency=5000', ...options })).toMatchObject({ status: 408 })
        expect(performance.now() - since).toBeLessThan(1_500)
      }
    })

    it('rests a deployment that fails more than allowed, in all routers, and takes it back', async () => {
      const fail = (): Promise<Answered> => ask('resting', { at: { resting1: 'fail=500' } })
      // Each router counts for itself: the second failure in one of them is one too many.
      const seen: string[] = []
      while (seen.at(-1) !== 'resting2' && seen.length < 6) seen.push(...(await fail()).sites)
      expect(seen.slice(0, -1)).toEqual(seen.slice(0, -1).map(() => 'resting1'))
      expect(seen.length).toBeGreaterThanOrEqual(3)
      expect(seen.length).toBeLessThanOrEqual(mode === 'cluster' ? 4 : 3)
      await expect.poll(() => spread(20, 'resting'), second).toEqual({ resting2: 20 })
      await expect.poll(async () => (await ask('resting')).sites, wait).toEqual(['resting1'])
      await expect.poll(() => spread(6, 'resting'), wait).toEqual({ resting1: 6 })
    })

    it('rests for as long as Retry-After says, and tells clients when to come back', async () => {
      const limited = await ask('limited', { script: 'fail=429,retry=30', body: { num_retries: 1 } })
      expect(limited.status).toBe(429)
      expect([...limited.sites].sort()).toEqual(['limited1', 'limited2'])
      const edges = gateway.cluster?.urls.length ?? 1
      let after: Answered[] = []
      const called = async (): Promise<string[]> => {
        after = await Promise.all(Array.from({ length: 6 * edges }, () => ask('limited')))
        return after.flatMap(({ sites }) => sites)
      }
      await expect.poll(called, second).toEqual([])
      expect(new Set(after.map(({ status }) => status))).toEqual(new Set([429]))
      const seconds = Number(after[0]?.headers.get('retry-after'))
      expect(seconds).toBeGreaterThan(25)
      expect(seconds).toBeLessThanOrEqual(30)
      expect(after[0]?.body.error?.message).toContain('No deployments available for selected model')
      // Who has a fallback does not wait, and does not ask again what rests.
      const saved = { at: { limited3: 'fail=429,retry=30', limited4: 'fail=429,retry=30' } }
      await expect.poll(async () => (await ask('limited-saved', saved)).sites, wait).toEqual(['spare1'])
      const alone = await ask('alone', { script: 'fail=429,retry=7' })
      expect(alone).toMatchObject({ status: 429, sites: ['alone1'] })
      expect(alone.headers.get('retry-after')).toBe('7')
    })

    it('asks a second one when the first does not begin, and bills both', async () => {
      const key = await gateway.generateKey({ router_settings: { hedge_after: 0.1 } })
      const since = performance.now()
      const { status, headers, sites } = await ask('hedged', { key, at: { hedged1: 'latency=10000' } })
      expect(performance.now() - since).toBeLessThan(2_000)
      expect({ status, sites }).toEqual({ status: 200, sites: ['hedged1', 'hedged2'] })
      expect(headers.get('x-litellm-model-id')).toBe('hedged2')
      const rows = await gateway.ledger(headers.get('x-litellm-call-id') as string)
      expect(rows.map(({ model_id }) => model_id).sort()).toEqual(['hedged1', 'hedged2'])
      const id = newId()
      const stream = await new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key }).chat.completions.create({
        model: 'hedged',
        messages: [{ role: 'user', content: marked(id, { script: 'chunks=4', at: { hedged1: 'first=10000' } }) }],
        stream: true,
      })
      let finished = 0
      for await (const chunk of stream) if (chunk.choices[0]?.finish_reason === 'stop') finished += 1
      expect([finished, sitesOf(id)]).toEqual([1, ['hedged1', 'hedged2']])
    })
  })

  describe('where calls go on', () => {
    it('falls back by list, through the official SDK', async () => {
      const id = newId()
      const { data, response } = await openai.chat.completions
        .create({
          model: 'general',
          messages: [{ role: 'user', content: marked(id, { at: { general1: 'fail=500', plain1: 'fail=503' } }) }],
        })
        .withResponse()
      expect(data.choices[0]?.message.content).toBeTruthy()
      expect(sitesOf(id)).toEqual(['general1', 'plain1', 'spare1'])
      expect(response.headers.get('x-litellm-model-group')).toBe('spare')
      expect(response.headers.get('x-litellm-model-id')).toBe('spare1')
      expect(response.headers.get('x-litellm-attempted-fallbacks')).toBe('2')
      expect(response.headers.get('x-litellm-attempted-retries')).toBe('0')
      const rows = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
      expect(rows).toMatchObject([{ status: 'success', model_group: 'spare', model_id: 'spare1' }])
      const stream = await openai.chat.completions.create({
        model: 'general',
        messages: [{ role: 'user', content: marked(newId(), { at: { general1: 'fail=500' } }) }],
        stream: true,
      })
      let text = ''
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
      expect(text).not.toBe('')
    })

    it('has lists of their own for what is too long and what is unsafe', async () => {
      const long = 'fail=400,code=context_length_exceeded,message=maximum context length is 8192 tokens'
      const unsafe = 'fail=400,code=content_policy_violation,message=rejected as a result of our safety system'
      expect(await ask('long', { at: { long1: long } })).toMatchObject({ status: 200, sites: ['long1', 'spare1'] })
      expect(await ask('unsafe', { at: { unsafe1: unsafe } })).toMatchObject({ status: 200, sites: ['unsafe1', 'spare1'] })
      // Where such a list is configured, a group that is not in it does not go on.
      expect(await ask('general', { at: { general1: long } })).toMatchObject({ status: 400, sites: ['general1'] })
      expect(await ask('general', { at: { general1: 'fail=400' } })).toMatchObject({ status: 200, sites: ['general1', 'plain1'] })
    })

    it('takes a request’s own fallbacks, with what they replace, or none', async () => {
      const at = { general1: 'fail=500' }
      expect(await ask('general', { at, body: { disable_fallbacks: true } })).toMatchObject({ status: 500, sites: ['general1'] })
      expect((await ask('general', { at, body: { fallbacks: ['spare'] } })).sites).toEqual(['general1', 'spare1'])
      const replaced = await ask('general', { at, body: { fallbacks: [{ model: 'spare', temperature: 0.25 }] } })
      expect(replaced.sites).toEqual(['general1', 'spare1'])
      const other = newId()
      const messages = [{ role: 'user', content: marked(other, {}) }]
      expect((await ask('general', { at, body: { fallbacks: [{ model: 'spare', messages }] } })).sites).toEqual(['general1'])
      expect(sitesOf(other)).toEqual(['spare1'])
      const long = { at: { general1: 'fail=400,code=context_length_exceeded' } }
      expect((await ask('general', { ...long, body: { context_window_fallbacks: [{ general: ['spare'] }] } })).sites).toEqual([
        'general1',
        'spare1',
      ])
      const [first, second] = upstream.served(replaced.id).map(({ body }) => JSON.parse(body) as Fields)
      expect([first?.['temperature'], second?.['temperature']]).toEqual([undefined, 0.25])
      const key = await gateway.generateKey({ models: ['general'] })
      expect((await ask('general', { at, key, body: { fallbacks: ['spare'] } })).status).toBe(403)
    })

    it('finds the list of a group by the name that was asked for too: an alias, a model behind a wildcard', async () => {
      expect((await ask('nickname', { at: { alone1: 'fail=500' } })).sites).toEqual(['alone1', 'spare1'])
      expect((await ask('wild/claude-y', { at: { wild1: 'fail=500' } })).sites).toEqual(['wild1', 'spare1'])
      expect((await ask('wild/claude-z', { at: { wild1: 'fail=500' } })).sites).toEqual(['wild1', 'plain1'])
    })

    it('tries as many groups as allowed, each with its own fallbacks, and says what happened', async () => {
      const at = { chain1: 'fail=500,message=first', chain2: 'fail=500', chain3: 'fail=500,message=last', spare1: 'fail=500' }
      const all = await ask('chain1', { at })
      expect(all).toMatchObject({ status: 500, sites: ['chain1', 'chain2', 'chain3', 'spare1'] })
      expect(all.body.error?.message).toMatch(/first.*Received Model Group=chain1.*Error doing the fallback/s)
      const key = await gateway.generateKey({ router_settings: { max_fallbacks: 1 } })
      expect((await ask('chain1', { at, key })).sites).toEqual(['chain1', 'chain2'])
    })

    it('falls back for embeddings, and for Anthropic’s clients', async () => {
      const id = newId()
      const post = (path: string, body: Fields): Promise<Response> =>
        fetch(`${gateway.url}${path}`, {
          method: 'POST',
          headers: { authorization: `Bearer ${gateway.masterKey}`, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        })
      const at = { general1: 'fail=503' }
      const embedded = await post('/v1/embeddings', { model: 'general', input: marked(id, { at }) })
      expect([embedded.status, sitesOf(id)]).toEqual([200, ['general1', 'plain1']])
      for (const stream of [false, true]) {
        const message = newId()
        const messages = [{ role: 'user', content: marked(message, { at }) }]
        const answer = await post('/v1/messages', { model: 'general', max_tokens: 9, messages, stream })
        expect([answer.status, sitesOf(message)]).toEqual([200, ['general1', 'plain1']])
        expect(await answer.text()).toContain(stream ? 'message_stop' : 'end_turn')
      }
    })

    it('goes on elsewhere when a stream does not begin in time, and its client sees one clean stream', async () => {
      const id = newId()
      const messages = [{ role: 'user' as const, content: marked(id, { script: 'chunks=3', at: { general1: 'first=9000' } }) }]
      const since = performance.now()
      const stream = await openai.chat.completions.create({
        model: 'general',
        messages,
        stream: true,
        ...{ stream_timeout: 0.2 },
      })
      let finished = 0
      for await (const chunk of stream) if (chunk.choices[0]?.finish_reason === 'stop') finished += 1
      expect([finished, sitesOf(id)]).toEqual([1, ['general1', 'plain1']])
      expect(performance.now() - since).toBeLessThan(2_000)
    })

    it('lets a request test its fallbacks', async () => {
      for (const [model, name, sites] of [
        ['general', 'mock_testing_fallbacks', ['plain1']],
        ['general', 'mock_testing_rate_limit_error', ['plain1']],
        ['long', 'mock_testing_context_fallbacks', ['spare1']],
        ['unsafe', 'mock_testing_content_policy_fallbacks', ['spare1']],
      ] as const) {
        expect(await ask(model, { body: { [name]: true } }), name).toMatchObject({ status: 200, sites })
      }
      const refused = await ask('alone', { body: { mock_testing_fallbacks: true } })
      expect(refused).toMatchObject({ status: 500, sites: [] })
    })

    it('heeds the fallbacks of a key before those of its team, and those before the file’s', async () => {
      await gateway.admin('POST', '/team/new', {
        team_id: 'falling',
        router_settings: { fallbacks: [{ alone: ['spare'] }, { general: ['spare'] }], default_fallbacks: ['plain'] },
      })
      const ofTeam = await gateway.generateKey({ team_id: 'falling' })
      const own = await gateway.generateKey({ team_id: 'falling', router_settings: { fallbacks: [{ alone: ['plain'] }] } })
      const at = { alone1: 'fail=500', general1: 'fail=500', late1: 'fail=500' }
      expect(await ask('alone', { at })).toMatchObject({ status: 500, sites: ['alone1'] })
      expect((await ask('alone', { at, key: ofTeam })).sites).toEqual(['alone1', 'spare1'])
      expect((await ask('general', { at, key: ofTeam })).sites).toEqual(['general1', 'spare1'])
      expect((await ask('late', { at, key: ofTeam })).sites).toEqual(['late1', 'plain1'])
      expect((await ask('alone', { at, key: own })).sites).toEqual(['alone1', 'plain1'])
      await gateway.admin('POST', '/key/update', { key: own, router_settings: { fallbacks: [] } })
      await expect.poll(async () => (await ask('alone', { at, key: own })).sites, wait).toEqual(['alone1'])
      // A fallback of the operator's needs no leave.
      const narrow = await gateway.generateKey({ models: ['general'] })
      expect((await ask('general', { at, key: narrow })).sites).toEqual(['general1', 'plain1'])
    })

    it('changes while it runs', async () => {
      const at = { late1: 'fail=500' }
      const sites = async (): Promise<string[]> => (await ask('late', { at })).sites
      expect(await sites()).toEqual(['late1'])
      await gateway.admin('POST', '/fallback', { model: 'late', fallback_models: ['plain'] })
      await expect.poll(sites, wait).toEqual(['late1', 'plain1'])
      await gateway.admin('DELETE', '/fallback/late')
      await expect.poll(sites, wait).toEqual(['late1'])
      await gateway.admin('POST', '/config/update', { litellm_settings: { default_fallbacks: ['spare'] } })
      await expect.poll(sites, wait).toEqual(['late1', 'spare1'])
      // A name that nobody knows goes there too.
      expect((await ask('unheard-of')).sites).toEqual(['spare1'])
      await gateway.admin('POST', '/config/update', {
        litellm_settings: { default_fallbacks: null },
        router_settings: { routing_strategy: 'cost-based-routing' },
      })
      await expect.poll(() => spread(8, 'priced'), wait).toEqual({ cheap: 8 })
      expect(await sites()).toEqual(['late1'])
      await gateway.admin('POST', '/config/update', { router_settings: { routing_strategy: null } })
      await expect.poll(async () => Object.keys(await spread(8, 'priced')).length, wait).toBe(2)
    })
  })

  describe('what a request wants', () => {
    it('sorts, orders and restricts as OpenRouter’s users write it', async () => {
      expect(await spread(8, 'priced:floor')).toEqual({ cheap: 8 })
      const wanting = (provider: Fields): Promise<Record<string, number>> => spread(8, 'priced', { body: { provider } })
      expect(await wanting({ sort: 'price' })).toEqual({ cheap: 8 })
      expect(await wanting({ order: ['openai', 'groq'] })).toEqual({ dear: 8 })
      expect(await wanting({ only: ['groq'] })).toEqual({ cheap: 8 })
      expect(await wanting({ ignore: ['groq'] })).toEqual({ dear: 8 })
      expect(await wanting({ max_price: { prompt: 2, completion: 2 } })).toEqual({ cheap: 8 })
      const none = await ask('priced', { body: { provider: { max_price: { prompt: 0.5 } } } })
      expect(none).toMatchObject({ status: 404, sites: [] })
      const ordered = { order: ['openai'], allow_fallbacks: true }
      const next = await ask('priced', { at: { dear: 'fail=500' }, body: { provider: ordered, num_retries: 1 } })
      expect(next).toMatchObject({ status: 200, sites: ['dear', 'cheap'] })
      const { id } = await ask('priced', { body: { provider: { only: ['openai'] } } })
      expect(JSON.parse(upstream.served(id)[0]?.body as string)).not.toHaveProperty('provider')
      const { sites } = await ask('alone', { at: { alone1: 'fail=500' }, body: { models: ['alone', 'plain'] } })
      expect(sites).toEqual(['alone1', 'plain1'])
    })

    it('obeys a config in a header as Portkey’s users write it', async () => {
      const header = (config: Fields): Record<string, string> => ({ 'x-portkey-config': JSON.stringify(config) })
      const headers = header({
        strategy: {
          mode: 'conditional',
          // biome-ignore lint/suspicious/noThenProperty: what Portkey calls the target of a condition.
          conditions: [{ query: { 'metadata.plan': { $eq: 'paid' } }, then: 'big' }],
          default: 'small',
        },
        targets: [
          { name: 'big', override_params: { model: 'spare' } },
          { name: 'small', override_params: { model: 'plain' } },
        ],
      })
      expect((await ask('alone', { headers, body: { metadata: { plan: 'paid' } } })).sites).toEqual(['spare1'])
      expect((await ask('alone', { headers, body: { metadata: { plan: 'free' } } })).sites).toEqual(['plain1'])
      const byHeader = { ...headers, 'x-portkey-metadata': JSON.stringify({ plan: 'paid' }) }
      expect((await ask('alone', { headers: byHeader })).sites).toEqual(['spare1'])
      const fallback = header({
        strategy: { mode: 'fallback', on_status_codes: [503] },
        targets: [{ override_params: { model: 'alone' } }, { override_params: { model: 'plain' } }],
      })
      const at = (status: number): Ask => ({ headers: fallback, at: { alone1: `fail=${status}` } })
      expect((await ask('alone', at(503))).sites).toEqual(['alone1', 'plain1'])
      expect(await ask('alone', at(500))).toMatchObject({ status: 500, sites: ['alone1'] })
    })

    it('goes where the operator’s rules send calls with such metadata, headers or parameters', async () => {
      expect((await ask('ruled', { headers: { 'x-plan': 'gold' } })).sites).toEqual(['plain1'])
      expect((await ask('ruled', { body: { temperature: 1.5 } })).sites).toEqual(['plain1'])
      expect((await ask('ruled', { body: { metadata: { plan: 'paid' } } })).sites).toEqual(['spare1'])
      expect((await ask('ruled', { body: { metadata: { plan: 'free' } } })).sites).toEqual(['ruled1'])
    })
  })

  describe('what belongs together', () => {
    it('keeps a session on one deployment, whichever router serves it', async () => {
      const session = (name: string): Promise<Record<string, number>> =>
        spread(8, 'sessions', { body: { litellm_session_id: name } })
      for (const name of ['a', 'b', 'c']) expect(Object.values(await session(name))).toEqual([8])
      const sites = await Promise.all(
        Array.from({ length: 30 }, (_, index) => ask('sessions', { body: { litellm_session_id: `s${index}` } })),
      )
      expect(new Set(sites.map(({ sites: [site] }) => site)).size).toBe(3)
      const headers = { 'x-litellm-session-id': 'a' }
      expect(await spread(8, 'sessions', { headers })).toEqual(await session('a'))
    })

    it('keeps a key on one deployment, until that one is out', async () => {
      const key = await gateway.generateKey({})
      const [site = ''] = Object.keys(await spread(10, 'sticky', { key }))
      expect(await spread(10, 'sticky', { key })).toEqual({ [site]: 10 })
      expect((await ask('sticky', { key, at: { [site]: 'fail=429,retry=2' } })).status).toBe(429)
      await expect.poll(async () => Object.keys(await spread(10, 'sticky', { key })), second).not.toContain(site)
    })

    it('keeps a conversation where its beginning is cached, and says so', async () => {
      const messages = [{ role: 'user' as const, content: `${mode} ${'a long beginning '.repeat(400)}` }]
      const turns: Answered[] = []
      for (let turn = 0; turn < 4; turn += 1) {
        turns.push(await ask('warm', { script: 'prompt=1500,cached=1024', messages }))
        messages.push({ role: 'user', content: `turn ${turn}` })
      }
      expect(new Set(turns.map(({ sites }) => sites.join(' '))).size).toBe(1)
      const hits = turns.map(({ headers }) => headers.get('x-turnpike-cache-affinity'))
      expect(hits[0]).toBeNull()
      // A router that has not seen the conversation sends it to the same place, but does not know that it is warm there.
      if (mode === 'embedded') expect(hits.slice(1)).toEqual(['hit', 'hit', 'hit'])
      else expect(hits.slice(1, 3)).toContain('hit')
      expect(turns[1]?.body['usage']).toMatchObject({ prompt_tokens_details: { cached_tokens: 1024 } })
    })
  })

  describe('beside the call', () => {
    it('sends a copy to the silent model, which the client never feels, and marks its row', async () => {
      const key = await gateway.generateKey({})
      const { status, headers, id } = await ask('loud', { key, at: { shadow1: 'latency=1000' } })
      expect({ status, id: headers.get('x-litellm-model-id') }).toEqual({ status: 200, id: 'loud1' })
      // The copy is still on its way, or has not even begun.
      expect(upstream.served(id).find(({ site }) => site === 'shadow1')?.outcome).not.toBe('completed')
      await upstream.when(
        () => upstream.served(id).length === 2 && upstream.served(id).every(({ outcome }) => outcome === 'completed'),
      )
      expect(sitesOf(id).sort()).toEqual(['loud1', 'shadow1'])
      expect((await ask('loud', { key, at: { shadow1: 'fail=500' } })).status).toBe(200)
      const rows = async (): Promise<LedgerRow[]> =>
        ((await gateway.admin('GET', `/spend/logs?api_key=${await gateway.hash(key)}`)) as LedgerRow[]).filter(
          ({ model_group }) => model_group === 'shadow',
        )
      await expect.poll(async () => (await rows()).length, { timeout: 10_000 }).toBe(2)
      for (const row of await rows()) expect(row).toMatchObject({ metadata: { is_silent_experiment: true } })
    })

    it('lets the more important of those who wait go first', async () => {
      const holder = ask('queue', { script: 'latency=600', edge: 0 })
      await upstream.when(({ active }) => active > 0)
      const order: string[] = []
      const waiting = [9, 5, 0].map(async (priority) => {
        const { status, headers } = await ask('queue', { body: { priority }, edge: 0, script: 'latency=50' })
        expect(status).toBe(200)
        expect(headers.get('x-litellm-request-prioritization-used')).toBe('True')
        order.push(String(priority))
      })
      await Promise.all([holder, ...waiting])
      // Routers wait each for themselves.
      if (mode === 'embedded') expect(order).toEqual(['0', '5', '9'])
    })

    it('stops calling a provider, or a deployment, whose budget is used up', async () => {
      // $0.01 per token.
      expect((await ask('capped', { script: 'prompt=1000,completion=1' })).status).toBe(200)
      await expect.poll(async () => (await ask('capped')).status, wait).toBe(429)
      const refused = await ask('capped')
      expect(refused.sites).toEqual([])
      expect(refused.body.error?.message).toContain('crossed budget for provider')
      expect((await ask('shared-cap', { script: 'prompt=1000,completion=1' })).sites).toEqual(['cap-own'])
      await expect.poll(() => spread(6, 'shared-cap'), wait).toEqual({ 'cap-none': 6 })
    })
  })
})
