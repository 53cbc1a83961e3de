import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { TurnpikeError } from './errors.ts'
import * as library from './index.ts'
import { type CallReport, callReport, completionCost } from './report.ts'
import { type Client, createClient } from './router.ts'
import { chat, END, head, hello, json, piece, provider } from './upstream.testkit.ts'

let reports: CallReport[] = []
const clients: Client[] = []

function client(env: Record<string, string | undefined> = { OPENAI_API_KEY: 'sk-env', ANTHROPIC_API_KEY: 'sk-ant' }): Client {
  const made = createClient({ env, onCall: (report) => reports.push(report) })
  clients.push(made)
  return made
}

afterEach(async () => {
  for (const one of clients.splice(0)) {
    await one.close()
    expect(one.running).toBe(0)
  }
  reports = []
})

async function all<Piece>(stream: AsyncIterable<Piece>): Promise<Piece[]> {
  const pieces: Piece[] = []
  for await (const one of stream) pieces.push(one)
  return pieces
}

async function errorOf(promise: Promise<unknown>): Promise<TurnpikeError> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(TurnpikeError)
  return error as TurnpikeError
}

describe('a call', () => {
  it('asks the provider its model names, with nothing of ours in the request, and says what it cost', async () => {
    const openai = await provider((_, response) => json(response, chat('hi there')))
    const answer = await client().completion({
      model: 'openai/gpt-4o',
      messages: hello,
      temperature: 0.5,
      api_base: openai.base,
      num_retries: 1,
      timeout: 20,
      tags: ['a'],
      metadata: { trace: 'x' },
    })
    expect(answer.choices[0]?.message.content).toBe('hi there')
    expect(openai.heard).toHaveLength(1)
    const [heard] = openai.heard
    expect(heard?.path).toBe('/v1/chat/completions')
    expect(heard?.headers.authorization).toBe('Bearer sk-env')
    expect(heard?.json).toEqual({ model: 'gpt-4o', messages: hello, temperature: 0.5 })
    // 100 × $2.50 + 50 × $10 per million.
    expect(completionCost(answer)).toBe(750_000)
    expect(reports).toHaveLength(1)
    expect(callReport(answer)).toBe(reports[0])
    expect(reports[0]).toMatchObject({
      endpoint: 'acompletion',
      provider: 'openai',
      model: 'openai/gpt-4o',
      outcome: 'success',
      status: 200,
      error: null,
      usage: { input: 100, output: 50 },
      tags: ['a'],
      metadata: { trace: 'x' },
    })
    expect(Object.keys(answer)).not.toContain('report')
  })

  it('is translated for a provider of another protocol', async () => {
    const anthropic = await provider((_, response) =>
      json(response, {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        model: 'claude-sonnet-4-5',
        content: [{ type: 'text', text: 'bonjour' }],
        stop_reason: 'end_turn',
        usage: { input_tokens: 10, output_tokens: 20 },
      }),
    )
    const answer = await client().completion({
      model: 'anthropic/claude-sonnet-4-5',
      messages: [{ role: 'system', content: 'French' }, ...hello],
      api_base: anthropic.url,
    })
    expect(answer.choices[0]).toMatchObject({ finish_reason: 'stop', message: { role: 'assistant', content: 'bonjour' } })
    expect(answer.usage).toMatchObject({ prompt_tokens: 10, completion_tokens: 20 })
    expect(anthropic.heard[0]?.headers['x-api-key']).toBe('sk-ant')
    expect(anthropic.heard[0]?.json).toMatchObject({ model: 'claude-sonnet-4-5' })
    // 10 × $3 + 20 × $15 per million.
    expect(completionCost(answer)).toBe(330_000)
  })

  it('speaks Anthropic’s and the Responses protocol to the caller, whoever answers', async () => {
    const openai = await provider((_, response) => json(response, chat('hi')))
    const made = client()
    const common = { model: 'openai/gpt-4o', api_base: openai.base }
    const message = await made.messages({ ...common, max_tokens: 5, messages: [{ role: 'user', content: 'hello' }] })
    expect(message).toMatchObject({ type: 'message', content: [{ type: 'text', text: 'hi' }], stop_reason: 'end_turn' })
    const first = await made.responses({ model: 'mock/one', input: 'remember me' })
    expect(first.object).toBe('response')
    const second = await made.responses({ model: 'mock/one', input: 'and now?', previous_response_id: first.id })
    expect(second.previous_response_id).toBe(first.id)
    const events = await all(await made.responses({ model: 'mock/one', input: 'hello', stream: true }))
    expect(events.at(-1)?.type).toBe('response.completed')
    const tokens = await made.countTokens({ ...common, messages: [{ role: 'user', content: 'hello' }] })
    expect(tokens.input_tokens).toBeGreaterThan(0)
  })

  it('is answered by the mock, or by what `mock_response` says, without a key', async () => {
    const made = client({})
    const text = (await made.completion({ model: 'openai/gpt-4o', messages: hello, mock_response: 'as said' })).choices[0]
      ?.message
    expect(text?.content).toBe('as said')
    const vectors = await made.embedding({ model: 'mock/vectors', input: ['a', 'b'] })
    expect(vectors.data).toHaveLength(2)
  })

  it('sends files, and gives sound back whole or as it comes', async () => {
    const openai = await provider(({ path }, response) => {
      if (path.endsWith('speech')) {
        response.writeHead(200, { 'content-type': 'audio/mpeg' })
        response.write('so')
        setImmediate(() => response.end('und'))
      } else if (path.endsWith('transcriptions')) json(response, { text: 'heard' })
      else json(response, { created: 1, data: [{ b64_json: 'aGk=' }] })
    })
    const made = client()
    const common = { api_base: openai.base }
    const file = { name: 'talk.mp3', type: 'audio/mpeg', bytes: Buffer.from('bytes of sound') }
    expect((await made.transcription({ model: 'openai/whisper-1', file, ...common })).text).toBe('heard')
    expect(openai.heard[0]?.text).toContain('filename="talk.mp3"')
    expect(openai.heard[0]?.text).toContain('bytes of sound')
    const image = await made.imageEdit({ model: 'openai/gpt-image-1', prompt: 'x', image: new Blob(['picture']), ...common })
    expect(image.data[0]?.b64_json).toBe('aGk=')
    expect(openai.heard[1]?.text).toContain('picture')
    const speech = { model: 'openai/tts-1', input: 'say', voice: 'alloy', ...common }
    const whole = await made.speech(speech)
    expect([Buffer.from(whole.audio).toString(), whole.contentType]).toEqual(['sound', 'audio/mpeg'])
    const flowing = await made.speech({ ...speech, stream: true })
    expect(Buffer.concat(await all(flowing.audio)).toString()).toBe('sound')
    expect(openai.heard[3]?.json).not.toHaveProperty('stream')
  })

  it('reads the environment anew when a key there has changed', async () => {
    const openai = await provider((_, response) => json(response, chat('ok')))
    const env: Record<string, string | undefined> = {}
    const made = client(env)
    const call = () => made.completion({ model: 'openai/gpt-4o', messages: hello, api_base: openai.base })
    const error = await errorOf(call())
    expect([error.name, error.message.includes('OPENAI_API_KEY')]).toEqual(['AuthenticationError', true])
    env['OPENAI_API_KEY'] = 'sk-new'
    await call()
    expect(openai.heard[0]?.headers.authorization).toBe('Bearer sk-new')
  })

  it('keeps many at once apart', async () => {
    const openai = await provider(({ json: body }, response) => {
      const said = (body['messages'] as { content: string }[])[0]?.content as string
      if (body['stream'] !== true) return void setTimeout(() => json(response, chat(`you said ${said}`)), Number(said) % 7)
      head(response)
      for (const letter of `you said ${said}`) response.write(piece(letter))
      response.end(END)
    })
    const made = client()
    const ask = async (index: number): Promise<string> => {
      const request = { model: 'openai/gpt-4o', messages: [{ role: 'user', content: String(index) }], api_base: openai.base }
      if (index % 2 === 0) return String((await made.completion(request)).choices[0]?.message.content)
      const pieces = await all(await made.completion({ ...request, stream: true }))
      return pieces.map((one) => one.choices[0]?.delta.content ?? '').join('')
    }
    const indexes = Array.from({ length: 200 }, (_, index) => index)
    expect(await Promise.all(indexes.map(ask))).toEqual(indexes.map((index) => `you said ${index}`))
    expect(reports).toHaveLength(200)
    expect(made.running).toBe(0)
  })

  it('is not harmed by a listener that throws', async () => {
    const warned = once(process, 'warning')
    const answer = await client().completion({
      model: 'mock/one',
      messages: hello,
      onCall: () => {
        throw new Error('the listener is broken')
      },
    })
    expect(answer.choices).toHaveLength(1)
    expect(String((await warned)[0])).toContain('the listener is broken')
  })
})

describe('the top-level functions', () => {
  it('have a client when they are called, and another after `close`', async () => {
    for (let time = 0; time < 2; time += 1) {
      const { data } = await library.embedding({ model: 'mock/vectors', input: 'a' })
      expect(data).toHaveLength(1)
      await library.close()
    }
    await library.close()
  })
})

describe('a stream', () => {
  it('gives its pieces as they come, and its cost once it has ended', async () => {
    let open: ServerResponse | null = null
    const openai = await provider((_, response) => {
      open = response
      head(response)
      response.write(piece('one'))
    })
    const stream = await client().completion({ model: 'openai/gpt-4o', messages: hello, api_base: openai.base, stream: true })
    const first = await stream.next()
    expect(first.value?.choices[0]?.delta.content).toBe('one')
    expect(completionCost(stream)).toBeNull()
    ;(open as ServerResponse | null)?.end(END)
    const rest = await all(stream)
    expect(rest.at(-1)?.choices[0]?.finish_reason).toBe('stop')
    // 10 × $2.50 + 2 × $10 per million.
    expect(completionCost(stream)).toBe(45_000)
    expect(reports[0]?.timeToFirstToken).toBeGreaterThanOrEqual(0)
  })

  it('closes the connection to the provider when its reader leaves the loop', async () => {
    const closed = Promise.withResolvers<void>()
    const openai = await provider((_, response) => {
      response.once('close', closed.resolve)
      head(response)
      response.write(piece('one') + piece('two'))
    })
    const booked = Promise.withResolvers<CallReport>()
    const stream = await client().completion({
      model: 'openai/gpt-4o',
      messages: hello,
      api_base: openai.base,
      stream: true,
      onCall: booked.resolve,
    })
    for await (const one of stream) {
      expect(one.choices[0]?.delta.content).toBe('one')
      break
    }
    await closed.promise
    expect(await stream.next()).toEqual({ done: true, value: undefined })
    // What was said until then is billed: counted here, because the provider did not get to say.
    expect(await booked.promise).toMatchObject({ outcome: 'cancelled', usage: { estimated: true } })
  })

  it('ends with the reason of its signal, before and after it begins', async () => {
    const closed = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const asked = Promise.withResolvers<void>()
    let calls = 0
    const openai = await provider((_, response) => {
      response.once('close', closed[calls]?.resolve as () => void)
      calls += 1
      if (calls === 1) asked.resolve()
      else {
        head(response)
        response.write(piece('one'))
      }
    })
    const made = client()
    const request = { model: 'openai/gpt-4o', messages: hello, api_base: openai.base, stream: true } as const
    const early = new AbortController()
    const waiting = made.completion({ ...request, signal: early.signal })
    await asked.promise
    early.abort(new Error('no longer wanted'))
    await expect(waiting).rejects.toThrow('no longer wanted')
    await closed[0]?.promise
    const late = new AbortController()
    const stream = await made.completion({ ...request, signal: late.signal })
    await stream.next()
    const next = stream.next()
    late.abort()
    await expect(next).rejects.toMatchObject({ name: 'AbortError' })
    await closed[1]?.promise
    await expect(made.completion({ ...request, signal: late.signal })).rejects.toMatchObject({ name: 'AbortError' })
    expect(calls).toBe(2)
  })

  it('makes the provider wait while nobody reads, and is whole in the end', async () => {
    const size = 64 * 1024
    const count = 300
    let written = 0
    const stalled = Promise.withResolvers<void>()
    const openai = await provider((_, response) => {
      head(response)
      const more = (): void => {
        while (written < count) {
          written += 1
          if (response.write(piece(`${written}`.padEnd(size, `.${written}`)))) continue
          // The socket takes no more; a reader that does not read keeps it so.
          if (written > 20) setTimeout(stalled.resolve, 100)
          return void response.once('drain', more)
        }
        response.end(END)
      }
      more()
    })
    const stream = await client().completion({ model: 'openai/gpt-4o', messages: hello, api_base: openai.base, stream: true })
    await stalled.promise
    expect(written).toBeLessThan(count)
    let letters = 0
    for await (const one of stream) letters += one.choices[0]?.delta.content?.length ?? 0
    expect(letters).toBe(size * count)
  })

  it('that breaks off, or holds an error, ends its loop with an error', async () => {
    let open: ServerResponse | null = null
    const openai = await provider((_, response) => {
      open = response
      head(response)
      response.write(piece('one'))
    })
    const made = client()
    const request = { model: 'openai/gpt-4o', messages: hello, api_base: openai.base, stream: true, num_retries: 0 } as const
    const broken = await made.completion(request)
    ;(open as ServerResponse | null)?.destroy()
    expect((await errorOf(all(broken))).code).toBe('provider_truncated')
    const faulty = await made.completion(request)
    ;(open as ServerResponse | null)?.end('data: {"error":{"message":"fell over","type":"server_error"}}\n\n')
    const error = await errorOf(all(faulty))
    expect(error).toMatchObject({ provider: 'openai', model: 'openai/gpt-4o' })
    expect(error.message).toContain('fell over')
    expect(reports.map(({ outcome }) => outcome)).toEqual(['partial', 'partial'])
  })
})

describe('a failure', () => {
  const refusing = (status: number, error: object, headers = {}) =>
    provider((_, response) => json(response, { error }, status, headers))

  it.each([
    [429, { message: 'slow down', type: 'rate_limit_error' }, 'RateLimitError', 'provider_rate_limited'],
    [401, { message: 'wrong key', type: 'invalid_request_error' }, 'AuthenticationError', 'provider_authentication'],
    [400, { message: 'too long', code: 'context_length_exceeded' }, 'ContextWindowExceededError', 'context_window_exceeded'],
    [404, { message: 'no such model', code: 'model_not_found' }, 'NotFoundError', 'provider_not_found'],
    [503, { message: 'busy' }, 'ServiceUnavailableError', 'provider_unavailable'],
  ])('of status %i is thrown under LiteLLM’s name', async (status, body, name, code) => {
    const openai = await refusing(status, body)
    const error = await errorOf(
      client().completion({ model: 'openai/gpt-4o', messages: hello, api_base: openai.base, num_retries: 0 }),
    )
    expect(error).toMatchObject({ name, code, status, provider: 'openai', model: 'openai/gpt-4o' })
    expect(error.message).toContain(body.message)
    expect(error.stack).toContain('client.test.ts')
    expect(reports).toMatchObject([{ outcome: 'failure', status }])
    expect(reports[0]?.error).toBe(error)
  })

  it('is tried again as often as asked', async () => {
    const openai = await refusing(500, { message: 'fell over' })
    await errorOf(client().completion({ model: 'openai/gpt-4o', messages: hello, api_base: openai.base, num_retries: 2 }))
    expect(openai.heard).toHaveLength(3)
    expect(reports[0]?.attempts).toHaveLength(3)
  })

  it('goes on to the fallbacks, also to the same model on another account', async () => {
    const broken = await refusing(500, { message: 'fell over' })
    const openai = await provider(({ headers }, response) =>
      headers.authorization === 'Bearer sk-second'
        ? json(response, chat('saved'))
        : json(response, { error: { message: 'no' } }, 401),
    )
    const answer = await client().completion({
      model: 'openai/gpt-4o',
      messages: hello,
      api_base: broken.base,
      api_key: 'sk-first',
      num_retries: 0,
      fallbacks: [{ model: 'openai/gpt-4o', api_base: openai.base, api_key: 'sk-second', temperature: 0 }, 'mock/never'],
    })
    expect(answer.choices[0]?.message.content).toBe('saved')
    expect(openai.heard[0]?.json).toMatchObject({ model: 'gpt-4o', temperature: 0 })
    expect(reports[0]?.attempts.map(({ outcome }) => outcome)).toEqual(['failure', 'success'])
    const other = await client().completion({
      model: 'openai/gpt-4o',
      messages: hello,
      api_base: broken.base,
      num_retries: 0,
      fallbacks: ['mock/other'],
    })
    expect(other.model).toBe('mock/other')
  })

  it('of the request itself names what is wrong, and nobody is asked', async () => {
    const made = client()
    expect(await errorOf(made.completion({ model: 'nobody/x', messages: hello }))).toMatchObject({ name: 'BadRequestError' })
    expect(await errorOf(made.completion({ model: '', messages: hello }))).toMatchObject({ param: 'model' })
    const wrong = made.completion({ model: 'mock/x', messages: 'hello' as unknown as [] })
    expect(await errorOf(wrong)).toMatchObject({ code: 'bad_request', param: 'messages' })
    const loop: Record<string, unknown> = {}
    loop['loop'] = loop
    expect(await errorOf(made.completion({ model: 'mock/x', messages: hello, metadata: loop }))).toMatchObject({
      code: 'bad_request',
    })
  })

  it('comes in time when the provider does not answer', async () => {
    const openai = await provider(() => {})
    const error = await errorOf(
      client().completion({ model: 'openai/gpt-4o', messages: hello, api_base: openai.base, timeout: 0.2, num_retries: 0 }),
    )
    expect([error.name, error.code]).toEqual(['Timeout', 'provider_timeout'])
  })

  it('is what running calls get when the client is closed', async () => {
    const asked = Promise.withResolvers<void>()
    const openai = await provider(() => asked.resolve())
    const made = client()
    const waiting = errorOf(made.completion({ model: 'openai/gpt-4o', messages: hello, api_base: openai.base }))
    await asked.promise
    await made.close()
    expect((await waiting).code).toBe('cancelled')
    expect((await errorOf(made.completion({ model: 'mock/x', messages: hello }))).message).toContain('closed')
  })
})
