import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { fold } from '../../router-svc/dialects/openai-responses/grammar.testkit.ts'
import { validatorOf } from '../../router-svc/providers/spec.testkit.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'

interface Asked {
  method: string
  url: string
  body: Record<string, unknown> | null
}

/** A provider that speaks the Responses API and keeps its responses. */
interface Native {
  url: string
  asked: Asked[]
  stop(): Promise<void>
}

const usage = {
  input_tokens: 100,
  input_tokens_details: { cached_tokens: 40 },
  output_tokens: 20,
  output_tokens_details: { reasoning_tokens: 5 },
  total_tokens: 120,
}

function responseOf(id: string, body: Record<string, unknown>): Record<string, unknown> {
  return {
    id,
    object: 'response',
    created_at: 1,
    status: 'completed',
    error: null,
    incomplete_details: null,
    instructions: null,
    model: `${body['model']}-2026`,
    output: [
      {
        id: `msg_${id}`,
        type: 'message',
        role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text: 'from afar', annotations: [], logprobs: [] }],
      },
    ],
    parallel_tool_calls: true,
    previous_response_id: body['previous_response_id'] ?? null,
    tool_choice: 'auto',
    tools: [],
    temperature: 1,
    top_p: 1,
    metadata: {},
    usage,
    novel: { kept: true },
  }
}

function eventsOf(response: Record<string, unknown>): string {
  const [item] = response['output'] as Record<string, unknown>[]
  const begun = { ...response, status: 'in_progress', output: [], usage: null }
  const at = { item_id: item?.['id'], output_index: 0, content_index: 0 }
  const part = { type: 'output_text', text: 'from afar', annotations: [], logprobs: [] }
  const events: [string, object][] = [
    ['response.created', { response: begun }],
    ['response.in_progress', { response: begun }],
    ['response.output_item.added', { output_index: 0, item: { ...item, status: 'in_progress', content: [] } }],
    ['response.content_part.added', { ...at, part: { ...part, text: '' } }],
    ['response.output_text.delta', { ...at, delta: 'from ', logprobs: [], obfuscation: 'xyz' }],
    ['response.output_text.delta', { ...at, delta: 'afar', logprobs: [] }],
    ['response.output_text.done', { ...at, text: 'from afar', logprobs: [] }],
    ['response.content_part.done', { ...at, part }],
    ['response.output_item.done', { output_index: 0, item }],
    ['response.completed', { response }],
  ]
  return events
    .map(([type, fields], index) => `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: index, ...fields })}\n\n`)
    .join('')
}

async function startNative(): Promise<Native> {
  const asked: Asked[] = []
  const kept = new Map<string, Record<string, unknown>>()
  let made = 0
  const answer = (response: ServerResponse, status: number, body: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body))
  }
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const text = Buffer.concat(parts).toString()
    const body = text === '' ? null : (JSON.parse(text) as Record<string, unknown>)
    const url = new URL(request.url ?? '', 'http://native')
    asked.push({ method: request.method ?? '', url: request.url ?? '', body })
    const [, , , id = '', action] = url.pathname.split('/')
    if (request.method === 'POST' && id === '') {
      made += 1
      const one = responseOf(`resp_native${made}`, body ?? {})
      if (body?.['background'] === true)
        Object.assign(one, { status: 'queued', background: true, output: [], usage: null, metadata: body['metadata'] ?? null })
      kept.set(one['id'] as string, one)
      if (body?.['stream'] !== true) return answer(response, 200, one)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(eventsOf(one))
      return
    }
    if (id === 'compact') return answer(response, 200, { id: 'resp_compact', object: 'response.compaction', output: [], usage })
    if (id === 'input_tokens') return answer(response, 200, { object: 'response.input_tokens', input_tokens: 7 })
    const one = kept.get(id)
    if (one === undefined)
      return answer(response, 404, { error: { message: `Response with id '${id}' not found.`, type: 'invalid_request_error' } })
    if (action === 'input_items')
      return answer(response, 200, { object: 'list', data: [], first_id: null, last_id: null, has_more: false })
    if (action === 'cancel') Object.assign(one, { status: 'cancelled' })
    if (request.method === 'DELETE') {
      kept.delete(id)
      return answer(response, 200, { id, object: 'response', deleted: true })
    }
    // One of those made in the background is done when somebody looks.
    if (one['background'] === true && one['metadata'] !== null && (one['metadata'] as { soon?: string }).soon === 'yes')
      Object.assign(one, { ...responseOf(id, one), background: true, metadata: { soon: 'yes' }, usage })
    if (url.searchParams.get('stream') !== 'true') return answer(response, 200, one)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(eventsOf(one))
  }
  const server: Server = createServer((request, response) => void serve(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

/** What the official OpenAI SDK sees of models behind three protocols, in both modes, and what is booked. */
describe.each(MODES)('%s', (mode) => {
  let upstream: Upstream
  let native: Native
  let gateway: Gateway
  let openai: OpenAI
  const isResponse = validatorOf('openai', 'Response')

  beforeAll(async () => {
    upstream = await startUpstream()
    native = await startNative()
    gateway = await openGateway(mode, { config: configFor(upstream.url, native.url) })
    openai = await client({ key_alias: `responses-${mode}` })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
    await native?.stop()
  })

  const client = async (fields: Record<string, unknown>): Promise<OpenAI> =>
    new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: await gateway.generateKey(fields), maxRetries: 0 })
  const failure = (call: Promise<unknown>) =>
    call.then(
      () => null,
      (error: InstanceType<typeof OpenAI.APIError>) => error,
    )
  const lookup = { type: 'function' as const, name: 'lookup_0', parameters: { type: 'object', properties: {} }, strict: false }

  describe.each([
    ['chat', 'openai_like'],
    ['claude', 'anthropic'],
  ])('model %s of a provider that does not speak Responses', (model, provider) => {
    it('answers as the API’s description says, and books it', async () => {
      const { data, response } = await openai.responses
        .create({
          model,
          instructions: 'Be brief.',
          input: 'hello [[upstream prompt=1000,completion=20,cached=400,chunks=3]]',
          metadata: { a: 'b' },
        })
        .withResponse()
      expect(isResponse(data)).toEqual([])
      expect(data).toMatchObject({
        object: 'response',
        status: 'completed',
        model,
        instructions: 'Be brief.',
        metadata: { a: 'b' },
        usage: { input_tokens: 1000, input_tokens_details: { cached_tokens: 400 }, output_tokens: 20, total_tokens: 1020 },
      })
      expect(data.output.map(({ type }) => type)).toEqual(['message'])
      expect(data.output_text).toMatch(/./)
      const [row, ...more] = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
      expect(more).toEqual([])
      expect(row).toMatchObject({
        call_type: 'aresponses',
        custom_llm_provider: provider,
        status: 'success',
        prompt_tokens: 1000,
        completion_tokens: 20,
      })
    })

    it('streams reasoning, text and calls in the order of the protocol, as the SDK reads them', async () => {
      const body = { model, input: 'hello [[upstream think=2,chunks=4,tools=2,prompt=50,completion=30]]', tools: [lookup] }
      const stream = openai.responses.stream(body)
      const final = await stream.finalResponse()
      expect(final.output.map(({ type }) => type)).toEqual(['reasoning', 'message', 'function_call', 'function_call'])
      expect(final.usage).toMatchObject({ input_tokens: 50, output_tokens: 30 })
      const raw = await openai.responses.create({ ...body, stream: true }).asResponse()
      const folded = fold(await raw.text())
      expect(folded.end).toBe('completed')
      expect(isResponse(folded.response)).toEqual([])
    })

    it('goes on after a tool’s result, and from its own response', async () => {
      const first = await openai.responses.create({ model, input: 'hello [[upstream tools=1,chunks=0]]', tools: [lookup] })
      const [call] = first.output
      if (call?.type !== 'function_call') throw new Error(`no call but ${call?.type}`)
      expect(JSON.parse(call.arguments)).toBeTypeOf('object')
      const id = `goes-on-${model}-${mode}`
      const second = await openai.responses.create({
        model,
        previous_response_id: first.id,
        input: [{ type: 'function_call_output', call_id: call.call_id, output: `found [[upstream chunks=2,id=${id}]]` }],
        tools: [lookup],
      })
      expect(second.status).toBe('completed')
      expect(second.previous_response_id).toBe(first.id)
      const sent = JSON.parse(upstream.served(id)[0]?.body ?? '') as { messages: { role: string }[] }
      expect(sent.messages).toHaveLength(3)
      const items = await openai.responses.inputItems.list(second.id, { order: 'asc' })
      expect(items.data.map(({ type }) => type)).toEqual(['message', 'function_call', 'function_call_output'])
    })

    it('gives a response back until it is deleted, to nobody else', async () => {
      const made = await openai.responses.create({ model, input: 'hello [[upstream chunks=1]]' })
      const stranger = await client({})
      expect(await openai.responses.retrieve(made.id)).toMatchObject({ id: made.id, output: made.output })
      expect(await failure(stranger.responses.retrieve(made.id))).toBeInstanceOf(OpenAI.NotFoundError)
      const from = stranger.responses.create({ model, input: 'x', previous_response_id: made.id })
      expect(await failure(from)).toBeInstanceOf(OpenAI.NotFoundError)
      await openai.responses.delete(made.id)
      expect(await failure(openai.responses.retrieve(made.id))).toBeInstanceOf(OpenAI.NotFoundError)
    })

    it('keeps nothing that is not to be stored', async () => {
      const made = await openai.responses.create({ model, input: 'hello [[upstream chunks=1]]', store: false })
      expect(await failure(openai.responses.retrieve(made.id))).toBeInstanceOf(OpenAI.NotFoundError)
    })

    it('refuses hosted tools by name, unless they may be left out', async () => {
      const body = { model, input: 'hello', tools: [{ type: 'file_search' as const, vector_store_ids: ['v'] }] }
      const refused = await failure(openai.responses.create(body))
      expect(refused).toMatchObject({ status: 400, param: 'tools[0]' })
      expect(refused?.message).toContain('file_search')
      const dropped = await openai.responses.create({ ...body, drop_params: true } as never)
      expect((dropped as OpenAI.Responses.Response).status).toBe('completed')
    })

    it('never reports a stream as complete that is cut off', async () => {
      const raw = await openai.responses
        .create({
          model,
          input: 'hello [[upstream chunks=6,fault=cut]]',
          stream: true,
          disable_fallbacks: true,
          num_retries: 0,
        } as never)
        .asResponse()
      expect(fold(await raw.text()).end).toBe('failed')
    })
  })

  it('carries a conversation from one model to another', async () => {
    const id = `switch-${mode}`
    const first = await openai.responses.create({ model: 'chat', input: 'hello [[upstream chunks=1]]' })
    await openai.responses.create({ model: 'claude', previous_response_id: first.id, input: `and [[upstream id=${id}]]` })
    const sent = JSON.parse(upstream.served(id)[0]?.body ?? '') as { messages: { role: string }[] }
    expect(sent.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user'])
    native.asked.length = 0
    const third = await openai.responses.create({ model: 'native', previous_response_id: first.id, input: 'more' })
    expect(third.previous_response_id).toBe(first.id)
    expect(native.asked[0]?.body).toMatchObject({ model: 'gpt-native', input: [{ role: 'user' }, { role: 'assistant' }, {}] })
    expect(native.asked[0]?.body).not.toHaveProperty('previous_response_id')
  })

  it('finds the items that a client only refers to', async () => {
    const id = `refers-${mode}`
    const first = await openai.responses.create({ model: 'chat', input: 'hello [[upstream chunks=1]]' })
    const [said] = first.output
    await openai.responses.create({
      model: 'chat',
      input: [
        { type: 'item_reference', id: said?.id as string },
        { role: 'user', content: `more [[upstream id=${id}]]` },
      ],
    })
    const sent = JSON.parse(upstream.served(id)[0]?.body ?? '') as { messages: { role: string; content: string }[] }
    expect(sent.messages[0]).toMatchObject({ role: 'assistant', content: first.output_text })
  })

  it('keeps the answers of a provider that speaks Responses and keeps none, streamed or not', async () => {
    native.asked.length = 0
    const first = await openai.responses.create({ model: 'stateless', input: 'hello' })
    const second = await openai.responses
      .stream({ model: 'stateless', input: 'more', previous_response_id: first.id })
      .finalResponse()
    expect(second.previous_response_id).toBe(first.id)
    await openai.responses.create({ model: 'stateless', input: 'and more', previous_response_id: second.id })
    const { input, ...sent } = (native.asked[2]?.body ?? { input: [] }) as { input: { role: string }[] }
    expect(sent).not.toHaveProperty('previous_response_id')
    expect(input.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant', 'user'])
    expect(await openai.responses.retrieve(second.id)).toMatchObject({ id: second.id, output_text: 'from afar' })
  })

  it('takes ids that LiteLLM made from the operator alone', async () => {
    const root = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.masterKey, maxRetries: 0 })
    const made = await openai.responses.create({ model: 'native', input: 'hello' })
    const inner = Buffer.from(made.id.slice('resp_'.length), 'base64url').toString().split(':')
    const text = `litellm:custom_llm_provider:openai;model_id:${inner[3]};response_id:${inner[4]}`
    const theirs = `resp_${Buffer.from(text).toString('base64')}`
    expect(await root.responses.retrieve(theirs)).toMatchObject({ id: theirs, output_text: 'from afar' })
    expect(await failure(openai.responses.retrieve(theirs))).toBeInstanceOf(OpenAI.NotFoundError)
  })

  it('parses structured answers, and refuses a wrong request at its place', async () => {
    const text = { format: { type: 'json_schema' as const, name: 'n', schema: { type: 'object' }, strict: false } }
    const parsed = await openai.responses.parse({
      model: 'chat',
      input: 'hello [[upstream chunks=1]]',
      text: { verbosity: 'low' },
    })
    expect(parsed.status).toBe('completed')
    const wrong = openai.responses.create({ model: 'chat', input: [{ role: 'user' }], text } as never)
    expect(await failure(wrong)).toMatchObject({ status: 400, param: 'input[0].content' })
    const nobody = openai.responses.create({ model: 'nobody', input: 'hello' })
    expect(await failure(nobody)).toMatchObject({ status: 400 })
  })

  it.each(['/responses', '/openai/v1/responses', '/openai/responses', '/openai/deployments/chat/responses'])(
    'answers on %s',
    async (path) => {
      const key = await gateway.generateKey({})
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
      const body = JSON.stringify({ model: 'chat', input: 'hello [[upstream chunks=1]]' })
      const made = (await (await fetch(`${gateway.url}${path}`, { method: 'POST', headers, body })).json()) as { id: string }
      expect(made.id).toMatch(/^resp_/)
      const root = path.startsWith('/openai/deployments') ? '/openai/responses' : path
      expect(await (await fetch(`${gateway.url}${root}/${made.id}`, { headers })).json()).toMatchObject({ id: made.id })
    },
  )

  describe('in the background, of a provider that knows no such thing', () => {
    const finished = async (id: string): Promise<OpenAI.Responses.Response> => {
      let response = await openai.responses.retrieve(id)
      while (response.status === 'queued' || response.status === 'in_progress') {
        await new Promise((resolve) => setTimeout(resolve, 100))
        response = await openai.responses.retrieve(id)
      }
      return response
    }
    const events = async (stream: AsyncIterable<OpenAI.Responses.ResponseStreamEvent>) => {
      const seen: OpenAI.Responses.ResponseStreamEvent[] = []
      for await (const event of stream) seen.push(event)
      return seen
    }

    it('is answered as queued, runs on, is polled, booked once, and gone on from', async () => {
      const { data: queued, response } = await openai.responses
        .create({ model: 'chat', input: 'hello [[upstream prompt=1000,completion=20,chunks=3]]', background: true })
        .withResponse()
      expect(queued).toMatchObject({ status: 'queued', background: true, output: [], model: 'chat' })
      const done = await finished(queued.id)
      expect(done).toMatchObject({ id: queued.id, status: 'completed', background: true, usage: { output_tokens: 20 } })
      expect(isResponse(done)).toEqual([])
      expect(done.output_text).toMatch(/./)
      const [row, ...more] = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
      expect(more).toEqual([])
      expect(row).toMatchObject({ call_type: 'aresponses', status: 'success', prompt_tokens: 1000, completion_tokens: 20 })
      const next = await openai.responses.create({ model: 'claude', input: 'more', previous_response_id: queued.id })
      expect(next.status).toBe('completed')
      const stranger = await client({})
      expect(await failure(stranger.responses.retrieve(queued.id))).toBeInstanceOf(OpenAI.NotFoundError)
      expect(await openai.responses.cancel(queued.id)).toMatchObject({ status: 'completed' })
    })

    it('is followed from its beginning or from any event', async () => {
      const body = { model: 'chat', input: 'hello [[upstream chunks=3,tools=1]]', tools: [lookup], background: true }
      const raw = await openai.responses.create({ ...body, stream: true }).asResponse()
      const folded = fold(await raw.text())
      expect(folded.end).toBe('completed')
      expect(folded.types.slice(0, 3)).toEqual(['response.created', 'response.queued', 'response.in_progress'])
      const id = folded.response?.['id'] as string
      const all = await events(await openai.responses.retrieve(id, { stream: true }))
      expect(all.map(({ type }) => type)).toEqual(folded.types)
      const later = await events(await openai.responses.retrieve(id, { stream: true, starting_after: 4 }))
      expect(later).toEqual(all.slice(5))
    })

    it('is cancelled, whichever router runs it', async () => {
      const mark = `cancelled-${mode}`
      const input = `hello [[upstream id=${mark},latency=20000]]`
      const queued = await openai.responses.create({ model: 'chat', input, background: true })
      await upstream.when(() => upstream.served(mark).length === 1)
      const unfinished = openai.responses.create({ model: 'chat', previous_response_id: queued.id, input: 'x' })
      expect(await failure(unfinished)).toMatchObject({ status: 400, param: 'previous_response_id' })
      expect((await openai.responses.cancel(queued.id)).status).toBe('cancelled')
      await upstream.when(() => upstream.served(mark)[0]?.outcome === 'aborted')
      expect((await openai.responses.retrieve(queued.id)).status).toBe('cancelled')
    })

    it('fails with what the provider says, and refuses what cannot be kept', async () => {
      const body = {
        model: 'chat',
        input: 'hello [[upstream fail=500]]',
        background: true,
        disable_fallbacks: true,
        num_retries: 0,
      }
      const queued = (await openai.responses.create(body as never)) as OpenAI.Responses.Response
      expect(await finished(queued.id)).toMatchObject({ status: 'failed', error: { code: 'server_error' } })
      const refused = openai.responses.create({ model: 'chat', input: 'x', background: true, store: false })
      expect(await failure(refused)).toMatchObject({ status: 400, param: 'store' })
    })
  })

  describe('a provider that speaks Responses', () => {
    it('gets the client’s own words, and its answer comes as it is but for names and ids', async () => {
      native.asked.length = 0
      const tools = [{ type: 'code_interpreter', container: { type: 'auto' } }]
      const body = { model: 'native', input: 'hello', tools, novel_field: [1.5], metadata: { a: 'b' }, tags: ['for-us'] }
      const { data, response } = await openai.responses.create(body as never).withResponse()
      const made = data as OpenAI.Responses.Response
      expect(native.asked).toEqual([
        {
          method: 'POST',
          url: '/v1/responses',
          body: { model: 'gpt-native', input: 'hello', tools, novel_field: [1.5], metadata: { a: 'b' } },
        },
      ])
      expect(made).toMatchObject({ model: 'native', output_text: 'from afar', novel: { kept: true }, usage })
      expect(made.id).not.toContain('native')
      const [row] = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
      expect(row).toMatchObject({ call_type: 'aresponses', status: 'success', prompt_tokens: 100, completion_tokens: 20 })
    })

    it('streams every event', async () => {
      const stream = openai.responses.stream({ model: 'native', input: 'hello' })
      const final = await stream.finalResponse()
      expect(final.output_text).toBe('from afar')
      const raw = await openai.responses.create({ model: 'native', input: 'hello', stream: true }).asResponse()
      const text = await raw.text()
      const folded = fold(text)
      expect(folded).toMatchObject({ end: 'completed', text: 'from afar', response: { model: 'native' } })
      expect(folded.types).toHaveLength(10)
      expect(text).toContain('"obfuscation":"xyz"')
    })

    it('is asked by its own ids for what it keeps, by nobody but the one who made it', async () => {
      const first = await openai.responses.create({ model: 'native', input: 'hello' })
      native.asked.length = 0
      const second = await openai.responses.create({ model: 'native', input: 'more', previous_response_id: first.id })
      expect(second.previous_response_id).toBe(first.id)
      expect(native.asked[0]?.body?.['previous_response_id']).toMatch(/^resp_native/)
      expect(await openai.responses.retrieve(first.id)).toMatchObject({ id: first.id, model: 'native', output_text: 'from afar' })
      expect((await openai.responses.inputItems.list(first.id)).data).toEqual([])
      const stranger = await client({})
      expect(await failure(stranger.responses.retrieve(first.id))).toBeInstanceOf(OpenAI.NotFoundError)
      await openai.responses.delete(first.id)
      expect(await failure(openai.responses.retrieve(first.id))).toBeInstanceOf(OpenAI.NotFoundError)
      const foreign = openai.responses.create({ model: 'chat', input: 'x', previous_response_id: second.id })
      expect(await failure(foreign)).toMatchObject({ status: 400, param: 'previous_response_id' })
    })

    it('runs in the background, is polled, followed and cancelled', async () => {
      const queued = await openai.responses.create({ model: 'native', input: 'hello', background: true })
      expect(queued.status).toBe('queued')
      expect((await openai.responses.retrieve(queued.id)).status).toBe('queued')
      expect((await openai.responses.cancel(queued.id)).status).toBe('cancelled')
      const made = await openai.responses.create({ model: 'native', input: 'hello' })
      const events = await openai.responses.retrieve(made.id, { stream: true })
      const types: string[] = []
      for await (const event of events) {
        types.push(event.type)
        if (event.type === 'response.completed') expect(event.response).toMatchObject({ id: made.id, model: 'native' })
      }
      expect(types).toHaveLength(10)
    })

    it('is booked when it is done in the background, for what it used, and once', async () => {
      const made = openai.responses.create({ model: 'native', input: 'hello', background: true, metadata: { soon: 'yes' } })
      const { data: queued, response } = await made.withResponse()
      expect(queued.status).toBe('queued')
      const [begun] = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
      expect(begun).toMatchObject({ call_type: 'aresponses', prompt_tokens: 0, completion_tokens: 0, spend: 0 })
      const settled = async (): Promise<unknown[]> => {
        expect((await openai.responses.retrieve(queued.id)).status).toBe('completed')
        const theirs = native.asked.at(-1)?.url.split('/').at(-1) ?? ''
        const name = JSON.stringify(['response', response.headers.get('x-litellm-model-id'), theirs])
        return gateway.ledger(`response-${createHash('sha256').update(name).digest('hex').slice(0, 32)}`)
      }
      const rows = await settled()
      expect(rows).toMatchObject([{ call_type: 'aresponses', prompt_tokens: 100, completion_tokens: 20, status: 'success' }])
      await settled()
      expect(await settled()).toHaveLength(1)
    })

    it('counts input and compacts', async () => {
      const counted = await openai.responses.inputTokens.count({ model: 'native', input: 'hello' })
      expect(counted.input_tokens).toBe(7)
      const compacted = await openai.responses.compact({ model: 'native', input: 'hello' } as never)
      expect(compacted).toMatchObject({ object: 'response.compaction' })
    })
  })
})

function configFor(upstream: string, native: string): string {
  return `
model_list:
  - model_name: native
    litellm_params: { model: openai/gpt-native, api_base: ${native}/v1, api_key: sk-native, use_responses_api: true }
  - model_name: stateless
    litellm_params: { model: groq/llama, api_base: ${native}/v1, api_key: sk-native, use_responses_api: true }
  - model_name: chat
    litellm_params: { model: openai_like/gpt-x, api_base: ${upstream}/v1, api_key: sk-up }
  - model_name: claude
    litellm_params: { model: anthropic/claude-sonnet-4-5, api_base: ${upstream}, api_key: sk-up }
general_settings: { master_key: sk-master }
`
}
