import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { CARRIED, type CarriedEndpoint, type CarrierName } from '../../proto/carried.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'
import { type ObjectsProvider, startObjectsProvider } from './objects-provider.ts'

/** Carriers of objects that belong to somebody. The others hold nothing: they pass requests on, or open sessions. */
const KEEPERS: ReadonlySet<CarrierName> = new Set(['objects', 'message-batches', 'responses'])
const KEEPS_NOTHING: ReadonlySet<CarrierName> = new Set(['pass-through', 'configured', 'realtime-sessions'])

/** Pages asked for at one time. */
const AT_ONCE = 8

type Ids = Record<string, string>
type Body = Record<string, unknown>

/** What a stranger says of the owner's objects where the path names none: by method and path below `/v1`. Null: there is nothing to name. */
const NAMED_IN_BODY: Record<string, ((ids: Ids) => Body) | null> = {
  'POST /files': null,
  'POST /batches': ({ files }) => ({ input_file_id: files, endpoint: '/v1/chat/completions', completion_window: '24h' }),
  'POST /fine_tuning/jobs': ({ files }) => ({ model: 'gpt', training_file: files }),
  'POST /vector_stores': ({ files }) => ({ name: 'x', file_ids: [files] }),
  'POST /assistants': ({ vector_stores }) => ({
    model: 'gpt',
    tool_resources: { file_search: { vector_store_ids: [vector_stores] } },
  }),
  'POST /threads': ({ vector_stores }) => ({ tool_resources: { file_search: { vector_store_ids: [vector_stores] } } }),
  'POST /threads/runs': ({ assistants }) => ({ assistant_id: assistants }),
  'POST /containers': ({ files }) => ({ name: 'x', file_ids: [files] }),
  'POST /videos': null,
  'POST /videos/edits': ({ videos }) => ({ video: { id: videos }, prompt: 'x' }),
  'POST /videos/extensions': ({ videos }) => ({ video: { id: videos }, prompt: 'x', seconds: '4' }),
  'POST /messages/batches': null,
  'POST /responses/compact': ({ responses }) => ({ model: 'chat', input: 'x', previous_response_id: responses }),
  'POST /responses/input_tokens': ({ responses }) => ({ model: 'chat', input: 'x', previous_response_id: responses }),
}

const familyOf = ({ path }: CarriedEndpoint): string =>
  /^(?:\/openai)?(?:\/v1)?(?:\/\{provider\}\/v1)?\/(fine_tuning|messages|\w+)/.exec(path)?.[1] ?? ''
const shapeOf = ({ path }: CarriedEndpoint): string =>
  path
    .replace(/^\/openai/, '')
    .replace(/^\/\{provider\}/, '')
    .replace(/^\/v1/, '')

const MARK = 'tenant-secret'
/** The answers of a provider for which nothing is said, and the owner's words. */
const WORDS = `${MARK}-prompt [[upstream id=tenants,chunks=1]]`

describe.each(MODES)('a stranger, %s', (mode) => {
  let provider: ObjectsProvider
  let upstream: Upstream
  let gateway: Gateway
  let owner = ''
  let stranger = ''
  let callId = ''
  const ids: Ids = {}
  const named: Ids = {}

  beforeAll(async () => {
    provider = await startObjectsProvider('tenants')
    upstream = await startUpstream()
    const at = (url: string) => ({ api_base: url, api_key: 'k' })
    const config = {
      model_list: [
        { model_name: 'gpt', litellm_params: { model: 'openai/gpt-4o', ...at(`${provider.url}/v1`) } },
        { model_name: 'claude', litellm_params: { model: 'anthropic/claude-sonnet-4-5', ...at(provider.url) } },
        {
          model_name: 'chat',
          litellm_params: { model: 'openai_like/chat', ...at(`${upstream.url}/v1`), input_cost_per_token: 0.001 },
        },
      ],
      litellm_settings: { cache: true, cache_params: { type: 'local' } },
      general_settings: { store_prompts_in_spend_logs: true },
      // So slow that a busy machine changes nothing.
      turnpike_settings: { unknown_keys_burst: 20, unknown_keys_per_second: 0.01 },
    }
    gateway = await openGateway(mode, { config: JSON.stringify(config) })
    const tenant = async (name: string): Promise<string> => {
      const made = async (path: string, body: Body) => (await gateway.admin('POST', path, body)) as Ids
      const { organization_id } = await made('/organization/new', { organization_alias: `${name}-organization`, models: [] })
      const { user_id } = await made('/user/new', {
        user_alias: `${name}-user`,
        user_role: 'internal_user',
        auto_create_key: false,
      })
      const { team_id } = await made('/team/new', { team_alias: `${name}-team`, organization_id })
      await made('/team/member_add', { team_id, member: { role: 'user', user_id } })
      if (name === MARK) Object.assign(named, { organization_id, user_id, team_id })
      return gateway.generateKey({ key_alias: `${name}-key`, team_id, user_id, metadata: { note: `${name}-note` } })
    }
    owner = await tenant(MARK)
    stranger = await tenant('other')
    await makeObjects()
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await provider?.stop()
    await upstream?.stop()
  })

  interface Told {
    status: number
    text: string
    headers: Headers
  }
  async function ask(key: string, method: string, path: string, body?: Body | FormData, more: Ids = {}): Promise<Told> {
    const isForm = body instanceof FormData
    const response = await fetch(gateway.url + path, {
      method,
      headers: {
        ...(key === '' ? {} : { authorization: `Bearer ${key}` }),
        ...(isForm || body === undefined ? {} : { 'content-type': 'application/json' }),
        ...more,
      },
      ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
    })
    return { status: response.status, text: await response.text(), headers: response.headers }
  }
  async function make(path: string, body: Body | FormData): Promise<string> {
    const { status, text } = await ask(owner, 'POST', path, body)
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`)
    return (JSON.parse(text) as { id: string }).id
  }

  /** One object of every family, each of the owner's. */
  async function makeObjects(): Promise<void> {
    const form = new FormData()
    form.append('purpose', 'user_data')
    form.append('file', new Blob([MARK]), `${MARK}.txt`)
    ids['files'] = await make('/v1/files', form)
    const line = JSON.stringify({
      custom_id: 'a',
      method: 'POST',
      url: '/v1/chat/completions',
      body: { model: 'gpt', messages: [] },
    })
    const input = new FormData()
    input.append('purpose', 'batch')
    input.append('file', new Blob([line]), 'in.jsonl')
    const batch = { input_file_id: await make('/v1/files', input), endpoint: '/v1/chat/completions', completion_window: '24h' }
    ids['batches'] = await make('/v1/batches', batch)
    ids['fine_tuning'] = await make('/v1/fine_tuning/jobs', { model: 'gpt', training_file: ids['files'] })
    ids['vector_stores'] = await make('/v1/vector_stores', { name: `${MARK}-store` })
    ids['assistants'] = await make('/v1/assistants', { model: 'gpt', name: `${MARK}-assistant` })
    ids['threads'] = await make('/v1/threads', { metadata: { note: MARK } })
    ids['containers'] = await make('/v1/containers', { name: `${MARK}-container` })
    ids['videos'] = await make('/v1/videos', { model: 'gpt', prompt: MARK })
    const params = { model: 'claude', max_tokens: 9, messages: [{ role: 'user', content: MARK }] }
    ids['messages'] = await make('/v1/messages/batches', { requests: [{ custom_id: MARK, params }] })
    ids['responses'] = await make('/v1/responses', { model: 'chat', input: WORDS })
    const said = await ask(owner, 'POST', '/v1/chat/completions', { model: 'chat', messages: [{ role: 'user', content: WORDS }] })
    callId = said.headers.get('x-litellm-call-id') ?? ''
    expect((await gateway.ledger(callId)).length).toBe(1)
    // Lists show what accounting has heard of.
    await vi.waitUntil(async () => (await ask(owner, 'GET', '/v1/files')).text.includes(ids['files'] as string), 10_000)
  }

  /** An id of the same form that nobody has. */
  const madeUp = (id: string): string => id.replace(/[A-Za-z0-9](?=[^A-Za-z0-9]*$)/, (last) => (last === 'x' ? 'y' : 'x'))
  const fill = (row: CarriedEndpoint, id: string): string =>
    row.path
      .replace('{provider}', 'openai')
      .replace('{id}', encodeURIComponent(id))
      .replace(/\{\w+\}/g, ids['files'] as string)
  const bodyOf = (row: CarriedEndpoint): Body | undefined =>
    row.methods.includes('POST')
      ? {
          name: 'x',
          query: 'x',
          role: 'user',
          content: 'x',
          file_id: 'x',
          file_ids: ['x'],
          assistant_id: 'x',
          tool_outputs: [],
          prompt: 'x',
          model: 'gpt',
        }
      : undefined

  const kept = CARRIED.filter(({ carrier }) => KEEPERS.has(carrier))

  it('has a case for every carried route', () => {
    const unsorted = CARRIED.filter(({ carrier }) => !KEEPERS.has(carrier) && !KEEPS_NOTHING.has(carrier)).map(({ path }) => path)
    const unnamed = kept.filter(
      (row) => !row.path.includes('{id}') && row.methods.includes('POST') && NAMED_IN_BODY[`POST ${shapeOf(row)}`] === undefined,
    )
    const unmade = kept.filter((row) => row.path.includes('{id}') && ids[familyOf(row)] === undefined)
    expect([unsorted, unnamed.map(({ path }) => path), unmade.map(({ path }) => path)]).toEqual([[], [], []])
  })

  it('gets no object of another team by its id, and cannot tell it from one that nobody has', async () => {
    const before = provider.seen.length
    const wrong: unknown[] = []
    const tryOne = async (row: CarriedEndpoint): Promise<void> => {
      const method = row.methods[0] as string
      const id = ids[familyOf(row)] as string
      const theirs = await ask(stranger, method, fill(row, id), bodyOf(row))
      const nobodys = await ask(stranger, method, fill(row, madeUp(id)), bodyOf(row))
      const same = theirs.text.replaceAll(id, '') === nobodys.text.replaceAll(madeUp(id), '')
      if (theirs.status !== 404 || nobodys.status !== 404 || !same || theirs.text.includes(MARK))
        wrong.push([method, row.path, theirs, nobodys])
    }
    const rows = kept.filter(({ path }) => path.includes('{id}'))
    for (let from = 0; from < rows.length; from += AT_ONCE) await Promise.all(rows.slice(from, from + AT_ONCE).map(tryOne))
    expect(wrong).toEqual([])
    expect(provider.seen.slice(before)).toEqual([])
  })

  it('cannot name an object of another team in a request of its own', async () => {
    const before = provider.seen.length
    const wrong: unknown[] = []
    for (const row of kept) {
      if (row.path.includes('{id}') || !row.methods.includes('POST')) continue
      const body = NAMED_IN_BODY[`POST ${shapeOf(row)}`]
      if (body === null || body === undefined) continue
      const told = await ask(stranger, 'POST', row.path.replace('{provider}', 'openai'), body(ids))
      if (told.status !== 404 || told.text.includes(MARK)) wrong.push([row.path, told])
    }
    const next = await ask(stranger, 'POST', '/v1/responses', {
      model: 'chat',
      input: 'x',
      previous_response_id: ids['responses'],
    })
    if (next.status !== 404) wrong.push(['previous_response_id', next])
    expect(wrong).toEqual([])
    expect(provider.seen.slice(before)).toEqual([])
  })

  it('sees nothing of another team in a list', async () => {
    const wrong: unknown[] = []
    for (const row of kept) {
      if (row.path.includes('{id}') || !row.methods.includes('GET')) continue
      const told = await ask(stranger, 'GET', row.path.replace('{provider}', 'openai'))
      const shown = [MARK, ...Object.values(ids)].filter((word) => told.text.includes(word))
      if (told.status !== 200 || shown.length > 0) wrong.push([row.path, told, shown])
    }
    expect(wrong).toEqual([])
  })

  // The same process answers in both.
  const readAll = async (): Promise<void> => {
    const paths = (JSON.parse((await ask('', 'GET', '/openapi.json')).text) as { paths: Record<string, Record<string, unknown>> })
      .paths
    const hash = await gateway.hash(owner)
    const asked: Ids = {
      ...named,
      api_key: hash,
      key: hash,
      key_hash: hash,
      token: hash,
      request_id: callId,
      id: callId,
      key_alias: `${MARK}-kez`,
    }
    const query = new URLSearchParams({
      ...asked,
      start_date: '2020-01-01',
      end_date: '2100-01-01',
      summarize: 'false',
      page: '1',
      group_by: 'team',
    })
    const pages = Object.entries(paths)
      .filter(([, methods]) => 'get' in methods)
      .map(([path]) => path)
    expect(pages.length).toBeGreaterThan(40)
    const read = async (key: string, path: string, search: string) =>
      ask(key, 'GET', path.replace(/\{(\w+)\}/g, (_, name: string) => asked[name] ?? named['team_id'] ?? '') + search)
    const searches = [
      query,
      { team_id: named['team_id'] as string, user_id: named['user_id'] as string },
      { api_key: hash, key: hash },
    ]
    const wrong: unknown[] = []
    let shown = 0
    const look = async (path: string): Promise<void> => {
      for (const search of searches) {
        const told = await read(stranger, path, `?${new URLSearchParams(search)}`)
        const at = told.text.replaceAll(asked['key_alias'] as string, '').indexOf(MARK)
        if (told.status >= 500 || at >= 0)
          wrong.push([path, search, told.status, told.text.slice(Math.max(0, at - 200), at + 200)])
      }
      if ((await read(gateway.masterKey, path, `?${query}`)).text.includes(MARK)) shown += 1
    }
    for (let from = 0; from < pages.length; from += AT_ONCE) await Promise.all(pages.slice(from, from + AT_ONCE).map(look))
    expect(wrong).toEqual([])
    // It is there to be seen.
    expect(shown).toBeGreaterThan(5)
  }
  if (mode === 'embedded')
    it('reads nothing of another team from any page of the management API, whatever it asks by', readAll, 60_000)

  it('gets no answer of another team from the cache, nor under its Idempotency-Key', async () => {
    const body = { model: 'chat', messages: [{ role: 'user', content: 'the same words [[upstream id=shared,chunks=1]]' }] }
    const call = async (key: string, more: Ids = {}, fields: Body = {}) =>
      ask(key, 'POST', '/v1/chat/completions', { ...body, ...fields }, more)
    await call(owner)
    await expect.poll(async () => (await call(owner)).headers.get('x-litellm-cache-hit'), { timeout: 5_000 }).toBe('True')
    const asked = upstream.served('shared').length
    const told = await call(stranger)
    expect(told.status).toBe(200)
    expect(told.headers.get('x-litellm-cache-hit')).not.toBe('True')
    expect(upstream.served('shared').length).toBe(asked + 1)
    const once = { 'idempotency-key': `same-${mode}` }
    const uncached = { cache: { 'no-cache': true, 'no-store': true } }
    const mine = await call(owner, once, uncached)
    const again = await call(owner, once, uncached)
    expect(JSON.parse(again.text).id).toBe(JSON.parse(mine.text).id)
    const theirs = await call(stranger, once, uncached)
    expect(theirs.status).toBe(200)
    expect(upstream.served('shared').length).toBe(asked + 3)
    expect((await call(stranger, once, { ...uncached, temperature: 0.5 })).status).toBe(409)
  })

  it('who guesses keys is slowed, on calls as on management, while keys the edge holds are served', async () => {
    const call = (key: string) =>
      ask(key, 'POST', '/v1/chat/completions', { model: 'chat', messages: [{ role: 'user', content: 'x' }] })
    const page = (key: string) => ask(key, 'GET', `/key/info?key=${key}`)
    const fresh = await gateway.generateKey({})
    const statuses: number[] = []
    for (let each = 0; each < 15; each += 1) statuses.push((await call(`sk-guess-${mode}-${each}`)).status)
    for (let each = 0; each < 15; each += 1) statuses.push((await page(`sk-guess-too-${mode}-${each}`)).status)
    expect(statuses.slice(0, 20)).toEqual(Array(20).fill(401))
    expect(statuses.slice(-5)).toContain(429)
    const refused = await Promise.all([call(fresh), page(fresh)])
    expect(refused.map(({ status }) => status)).toEqual([429, 429])
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0)
    expect((await call(owner)).status).toBe(200)
    expect((await page(gateway.masterKey)).status).not.toBe(429)
    expect((await ask('', 'GET', '/metrics')).text).toMatch(/turnpike_unknown_keys_total\{outcome="refused"\} \d/)
  })
})
