import Anthropic from '@anthropic-ai/sdk'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Gateway, type LedgerRow, MODES, openGateway } from './gateway.ts'
import { type ObjectsProvider, startObjectsProvider } from './objects-provider.ts'

const MEGABYTE = 1024 * 1024

/** Files, batches and what else providers keep for callers, in both modes, through the official client. */
describe.each(MODES)('%s', (mode) => {
  let one: ObjectsProvider
  let other: ObjectsProvider
  let gateway: Gateway
  let mine: OpenAI
  let stranger: OpenAI

  const clientOf = async (team: string): Promise<OpenAI> => {
    const made = (await gateway.admin('POST', '/team/new', { team_alias: `${team}-${mode}` })) as { team_id: string }
    const apiKey = await gateway.generateKey({ team_id: made.team_id, key_alias: `${team}-${mode}` })
    return new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey, maxRetries: 0 })
  }

  beforeAll(async () => {
    one = await startObjectsProvider('one')
    other = await startObjectsProvider('other')
    const config = {
      model_list: [
        {
          model_name: 'gpt',
          litellm_params: { model: 'openai/gpt-4o', api_base: `${one.url}/v1`, api_key: 'sk-one' },
          model_info: { id: 'dep-one' },
        },
        {
          model_name: 'claude',
          litellm_params: { model: 'anthropic/claude-sonnet-4-5', api_base: one.url, api_key: 'sk-ant' },
          model_info: { id: 'dep-claude' },
        },
        {
          model_name: 'az',
          litellm_params: { model: 'azure/my-gpt', api_base: other.url, api_key: 'az-key', api_version: '2024-10-21' },
          model_info: { id: 'dep-other' },
        },
      ],
      general_settings: { proxy_batch_polling_interval: 1 },
      assistant_settings: {
        custom_llm_provider: 'azure',
        litellm_params: { api_base: other.url, api_key: 'az-assistants', api_version: '2024-10-21' },
      },
    }
    gateway = await openGateway(mode, { config: JSON.stringify(config) })
    mine = await clientOf('mine')
    stranger = await clientOf('strangers')
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await one?.stop()
    await other?.stop()
  })

  /** Accounting hears of an object a moment after its maker. */
  const eventually = async (test: () => Promise<void>): Promise<void> => {
    await expect.poll(() => test().then(() => 'so', String), { timeout: 15_000, interval: 50 }).toBe('so')
  }

  const bookedOf = async (prefix: string): Promise<LedgerRow[]> =>
    ((await gateway.admin('GET', '/spend/logs')) as LedgerRow[]).filter((row) => String(row.request_id).startsWith(prefix))

  it('uploads, lists, fetches and deletes a file of 20 MB for its owner alone', async () => {
    const bytes = Buffer.alloc(20 * MEGABYTE, 'turnpike ')
    const file = await mine.files.create({ file: await toFile(bytes, 'large.txt'), purpose: 'user_data' })
    expect(file).toMatchObject({ object: 'file', bytes: bytes.length, filename: 'large.txt' })
    expect(file.id).toMatch(/^file-/)
    expect(file.id).not.toContain('file-one')
    expect(await mine.files.retrieve(file.id)).toMatchObject({ id: file.id, filename: 'large.txt' })
    const content = Buffer.from(await (await mine.files.content(file.id)).arrayBuffer())
    expect(content.equals(bytes)).toBe(true)
    await eventually(async () => expect((await mine.files.list()).data.map(({ id }) => id)).toContain(file.id))
    expect((await stranger.files.list()).data).toEqual([])
    await expect(stranger.files.retrieve(file.id)).rejects.toMatchObject({ status: 404 })
    await expect(stranger.files.content(file.id)).rejects.toMatchObject({ status: 404 })
    await expect(mine.files.retrieve('file-one1')).rejects.toMatchObject({ status: 404 })
    expect(await mine.files.delete(file.id)).toMatchObject({ id: file.id, deleted: true })
    await eventually(async () => expect((await mine.files.list()).data.map(({ id }) => id)).not.toContain(file.id))
  }, 60_000)

  it('books what a batch cost once, however often it is asked for', async () => {
    const line = { custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body: { model: 'gpt', messages: [] } }
    const input = await mine.files.create({ file: await toFile(Buffer.from(JSON.stringify(line)), 'in.jsonl'), purpose: 'batch' })
    const batch = await mine.batches.create({
      input_file_id: input.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    })
    expect(batch).toMatchObject({ input_file_id: input.id, status: 'validating' })
    await eventually(async () => expect((await mine.batches.list()).data.map(({ id }) => id)).toEqual([batch.id]))
    const made = one.seen.filter(({ path, method }) => method === 'GET' && path.includes('/batches/')).at(-1)
    const usage = { prompt_tokens: 1_000_000, completion_tokens: 100_000, total_tokens: 1_100_000 }
    const answer = {
      id: 'x',
      custom_id: 'a',
      response: { status_code: 200, body: { model: 'gpt-4o-2024-08-06', usage } },
      error: null,
    }
    one.complete(made?.path.split('/').at(-1) as string, [answer, answer])
    let output = ''
    for (let time = 0; time < 5; time++) {
      const done = await mine.batches.retrieve(batch.id)
      expect(done).toMatchObject({ id: batch.id, status: 'completed', input_file_id: input.id })
      output = done.output_file_id as string
    }
    expect(await (await mine.files.content(output)).text()).toContain('gpt-4o-2024-08-06')
    await expect(stranger.batches.retrieve(batch.id)).rejects.toMatchObject({ status: 404 })
    expect((await stranger.batches.list()).data).toEqual([])
    const booked = () => bookedOf('batch-')
    await eventually(async () => expect(await booked()).toHaveLength(1))
    // GPT-4o in a batch: $1.25 and $5 a million.
    expect((await booked())[0]).toMatchObject({
      spend: 3.5,
      prompt_tokens: 2_000_000,
      completion_tokens: 200_000,
      model_group: 'gpt',
    })
    expect((await booked())[0]?.['api_key']).toBe(await gateway.hash(mine.apiKey as string))
  }, 60_000)

  it('uploads one file for several models and sends each batch where its model is', async () => {
    const line = { custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body: { model: 'any', messages: [] } }
    const fields = { target_model_names: 'gpt,az' }
    const file = await mine.files.create({
      file: await toFile(Buffer.from(JSON.stringify(line)), 'in.jsonl'),
      purpose: 'batch',
      ...fields,
    })
    const before = [one.seen.length, other.seen.length]
    const asked = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' } as const
    const there = await mine.batches.create({ ...asked, model: 'az' } as typeof asked)
    expect([one.seen.length, other.seen.length]).toEqual([before[0], (before[1] as number) + 1])
    expect(other.seen.at(-1)).toMatchObject({
      path: '/openai/batches',
      query: '?api-version=2024-10-21',
      authorization: 'az-key',
    })
    expect(there.input_file_id).toBe(file.id)
    await mine.batches.create({ ...asked, model: 'gpt' } as typeof asked)
    expect(one.seen.at(-1)?.path).toBe('/v1/batches')
    await mine.batches.cancel(there.id)
    expect(other.seen.at(-1)?.path).toMatch(/^\/openai\/batches\/batch_other\d+\/cancel$/)
    expect(await mine.files.delete(file.id)).toMatchObject({ id: file.id, deleted: true })
  })

  it('takes Anthropic’s batches in Anthropic’s words and books them when nobody asks any more', async () => {
    const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: mine.apiKey, maxRetries: 0 })
    const params = { model: 'claude', max_tokens: 9, messages: [{ role: 'user' as const, content: 'hi' }] }
    const batch = await anthropic.messages.batches.create({ requests: [{ custom_id: 'a', params }] })
    expect(batch).toMatchObject({ type: 'message_batch', processing_status: 'in_progress' })
    const sent = JSON.parse(one.seen.at(-1)?.body ?? '') as { requests: { params: { model: string } }[] }
    expect(sent.requests[0]?.params.model).toBe('claude-sonnet-4-5')
    expect(await anthropic.messages.batches.retrieve(batch.id)).toMatchObject({ id: batch.id })
    await expect(stranger.get(`/messages/batches/${batch.id}`)).rejects.toMatchObject({ status: 404 })
    await eventually(async () => expect((await anthropic.messages.batches.list()).data.map(({ id }) => id)).toEqual([batch.id]))
    const message = { model: 'claude-sonnet-4-5-20250929', usage: { input_tokens: 100_000, output_tokens: 10_000 } }
    one.end(Array.from({ length: 10 }, () => ({ custom_id: 'a', result: { type: 'succeeded', message } })))
    await eventually(async () => expect(await bookedOf('message_batch-')).toHaveLength(1))
    // Sonnet in a batch: $1.50 and $7.50 a million, as long as no request is above 200,000 tokens.
    expect((await bookedOf('message_batch-'))[0]).toMatchObject({ spend: 2.25, model_group: 'claude' })
    const results = []
    for await (const result of await anthropic.messages.batches.results(batch.id)) results.push(result.custom_id)
    expect(results).toHaveLength(10)
    expect(await bookedOf('message_batch-')).toHaveLength(1)
  }, 60_000)

  it('lets a key with a list of models send no other in a batch', async () => {
    const apiKey = await gateway.generateKey({ models: ['gpt'] })
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey, maxRetries: 0 })
    const upload = async (model: string) => {
      const line = { custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body: { model, messages: [] } }
      return client.files.create({ file: await toFile(Buffer.from(JSON.stringify(line)), 'in.jsonl'), purpose: 'batch' })
    }
    await expect(upload('gpt-4o-pro')).rejects.toMatchObject({ status: 403 })
    await expect(upload('az')).rejects.toMatchObject({ status: 403 })
    const file = await upload('gpt')
    expect(await (await client.files.content(file.id)).json()).toMatchObject({ body: { model: 'gpt-4o' } })
  })

  it('reaches whoever has a job, a store, an assistant and a thread', async () => {
    const file = await mine.files.create({ file: await toFile(Buffer.from('x'), 'train.jsonl'), purpose: 'fine-tune' })
    const job = await mine.fineTuning.jobs.create({ model: 'gpt-4o', training_file: file.id })
    expect(job).toMatchObject({ object: 'fine_tuning.job', training_file: file.id })
    expect(await mine.fineTuning.jobs.retrieve(job.id)).toMatchObject({ id: job.id })
    expect(await mine.fineTuning.jobs.cancel(job.id)).toMatchObject({ status: 'cancelling' })

    const store = await mine.vectorStores.create({ name: 'docs', file_ids: [file.id] })
    expect(await mine.vectorStores.files.create(store.id, { file_id: file.id })).toMatchObject({
      id: file.id,
      vector_store_id: store.id,
    })
    const found = await mine.vectorStores.search(store.id, { query: 'what' })
    expect(found.data[0]?.file_id).toMatch(/^file-/)
    await expect(stranger.vectorStores.search(store.id, { query: 'what' })).rejects.toMatchObject({ status: 404 })

    const assistant = await mine.beta.assistants.create({ model: 'gpt-4o' })
    const thread = await mine.beta.threads.create({ metadata: { thread_id: 'theirs' } })
    expect(thread.metadata).toEqual({ thread_id: 'theirs' })
    const message = await mine.beta.threads.messages.create(thread.id, { role: 'user', content: 'hello' })
    expect(message.thread_id).toBe(thread.id)
    expect((await mine.beta.threads.messages.list(thread.id)).data.map(({ id }) => id)).toEqual([message.id])
    const run = await mine.beta.threads.runs.create(thread.id, { assistant_id: assistant.id })
    expect(run).toMatchObject({ assistant_id: assistant.id, thread_id: thread.id })
    expect(await mine.beta.threads.runs.retrieve(run.id, { thread_id: thread.id })).toMatchObject({ id: run.id })
    const events = []
    for await (const event of await mine.beta.threads.runs.create(thread.id, { assistant_id: assistant.id, stream: true }))
      events.push(event)
    expect(events[0]?.data).toMatchObject({ assistant_id: assistant.id, thread_id: thread.id })
    expect(other.seen.at(-1)).toMatchObject({ authorization: 'az-assistants' })
    await expect(stranger.beta.threads.retrieve(thread.id)).rejects.toMatchObject({ status: 404 })
    await eventually(async () => expect((await mine.beta.assistants.list()).data.map(({ id }) => id)).toEqual([assistant.id]))
    expect((await stranger.beta.assistants.list()).data).toEqual([])
    expect(await mine.beta.assistants.delete(assistant.id)).toMatchObject({ id: assistant.id, deleted: true })
  })

  it('says by name which provider has no such API', async () => {
    const upload = mine.files.create({
      file: await toFile(Buffer.from('x'), 'x.txt'),
      purpose: 'user_data',
      ...{ custom_llm_provider: 'gemini' },
    })
    await expect(upload).rejects.toMatchObject({ message: expect.stringContaining('gemini') })
  })
})
