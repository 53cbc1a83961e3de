import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { Clock } from '../../../shared/clock.ts'
import { createHttpClient, type HttpClient } from '../../../shared/http/client.ts'
import { deployment, make } from '../../handle.testkit.ts'

type Serve = (request: IncomingMessage, body: Buffer, response: ServerResponse) => void

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of open.splice(0)) await close()
})

async function serverOf(serve: Serve): Promise<string> {
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    serve(request, Buffer.concat(parts), response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  open.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  )
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A router's handler over real sockets; its pauses of three seconds are over when the test says so. */
function world(provider: string, model: string, apiBase: string) {
  const http: HttpClient = createHttpClient()
  open.push(() => http.close())
  const waiting: (() => void)[] = []
  const asking: (() => void)[] = []
  const made = make([deployment('one', { provider, model, apiBase })], { numRetries: 0 }, (clock) => {
    const watched: Clock = {
      ...clock,
      after(delay, run) {
        if (delay !== 3000) return clock.after(delay, run)
        const waiter = asking.shift()
        if (waiter === undefined) waiting.push(run)
        else {
          waiting.push(run)
          waiter()
        }
        return { cancel: () => undefined }
      },
    }
    return { http, clock: watched }
  })
  return {
    ...made,
    /** Waits for the handler to pause. */
    paused: () => (waiting.length > 0 ? Promise.resolve() : new Promise<void>((resolve) => asking.push(resolve))),
    goOn: () => waiting.shift()?.(),
  }
}

const BOUNDARY = 'b'
const FORM = [
  `--${BOUNDARY}\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt\r\n`,
  `--${BOUNDARY}\r\ncontent-disposition: form-data; name="response_format"\r\n\r\nsrt\r\n`,
  `--${BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\ncontent-type: audio/wav\r\n\r\nSOUND\r\n`,
  `--${BOUNDARY}--\r\n`,
].join('')
const TRANSCRIPTION = { endpoint: 'atranscription', headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` } }

describe('a polled transcription', () => {
  function service(states: unknown[]) {
    const seen: string[] = []
    const keys = new Set<string | undefined>()
    const serve: Serve = (request, body, response) => {
      seen.push(`${request.method} ${request.url} ${body.toString()}`)
      keys.add(request.headers.authorization)
      const json = (value: unknown) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))
      if (request.url === '/v2/upload') json({ upload_url: 'https://cdn.test/1' })
      else if (request.method === 'POST') json({ id: 't1', status: 'queued' })
      else json(states.shift())
    }
    return { seen, keys, serve }
  }

  it('is uploaded, made, asked after until it is there, and billed by what it heard', async () => {
    const words = [{ text: 'Hi.', start: 0, end: 1500 }]
    const { seen, keys, serve } = service([
      { id: 't1', status: 'processing' },
      { id: 't1', status: 'completed', text: 'Hi.', words, audio_duration: 2 },
    ])
    const { call, paused, goOn, events } = world('assemblyai', 'universal', await serverOf(serve))
    const client = call(FORM, TRANSCRIPTION)
    for (let turn = 0; turn < 2; turn++) {
      await paused()
      goOn()
    }
    await client.done
    expect([client.error, client.text]).toEqual([null, '1\n00:00:00,000 --> 00:00:01,500\nHi.\n\n'])
    expect(seen).toEqual([
      'POST /v2/upload SOUND',
      'POST /v2/transcript {"audio_url":"https://cdn.test/1","speech_models":["universal"],"language_detection":true}',
      'GET /v2/transcript/t1 ',
      'GET /v2/transcript/t1 ',
    ])
    expect([...keys]).toEqual(['k'])
    expect(events).toMatchObject([{ outcome: 'success', attempts: [{ usage: { units: { audio_ms_in: 2000 } } }] }])
  })

  it('that fails tells why, and is booked as a failure', async () => {
    const { serve } = service([{ id: 't1', status: 'error', error: 'Server error, developers have been alerted.' }])
    const { call, paused, goOn, events } = world('assemblyai', 'universal', await serverOf(serve))
    const client = call(FORM, TRANSCRIPTION)
    await paused()
    goOn()
    await client.done
    expect(client.head?.status).toBe(500)
    expect(client.text).toContain('AssemblyaiException - Server error, developers have been alerted.')
    expect(events).toMatchObject([{ outcome: 'failure' }])
  })

  it('is not asked after any more when its client has left', async () => {
    const { seen, serve } = service([])
    const { call, paused, goOn, events } = world('assemblyai', 'universal', await serverOf(serve))
    const client = call(FORM, TRANSCRIPTION)
    await paused()
    client.stream.onCancel?.('client gone')
    await client.done
    goOn()
    expect(seen).toHaveLength(2)
    expect(events).toMatchObject([{ outcome: 'cancelled' }])
  })
})

describe('speech that is passed on', () => {
  const SPEECH = { model: 'gpt', input: 'Hello', voice: 'alloy' }

  it('goes out as it comes, billed by what the provider counted', async () => {
    const base = await serverOf((_request, _body, response) => {
      response.writeHead(200, { 'content-type': 'audio/mpeg', 'x-character-count': '5' })
      response.write('ID3-')
      setImmediate(() => response.end('sound'))
    })
    const { call, events } = world('elevenlabs', 'eleven_v3', base)
    const client = call(SPEECH, { endpoint: 'aspeech' })
    await client.done
    expect([client.error, client.text, client.ended]).toEqual([null, 'ID3-sound', true])
    expect(events).toMatchObject([{ outcome: 'success', attempts: [{ usage: { units: { character_in: 5 } } }] }])
  })

  it('that is cut off in the middle is a broken answer, not a short one', async () => {
    const base = await serverOf((_request, _body, response) => {
      response.writeHead(200, { 'content-type': 'audio/mpeg' })
      response.write('ID3-')
      setImmediate(() => response.destroy())
    })
    const { call, events } = world('deepgram', 'aura-2-thalia-en', base)
    const client = call(SPEECH, { endpoint: 'aspeech' })
    await client.done
    expect([client.text, client.ended]).toEqual(['ID3-', false])
    expect(client.error?.code).toMatch(/^provider_/)
    expect(events[0]?.outcome).not.toBe('success')
    // What was said until then is the provider's to bill.
    expect(events[0]?.attempts[0]?.usage?.units).toEqual({ character_in: 5 })
  })
})

/** What proves who calls belongs to the service that is called, not to the models' beside it. */
describe('services beside those of models', () => {
  const aws = { aws_access_key_id: 'AKID', aws_secret_access_key: 'secret', aws_region_name: 'eu-central-1' }

  it.each([
    [
      { provider: 'bedrock', model: 'cohere.rerank-v3-5:0' },
      { model: 'gpt', query: 'q', documents: ['a'] },
      'arerank',
      'https://bedrock-agent-runtime.eu-central-1.amazonaws.com/rerank',
      '/eu-central-1/bedrock/aws4_request',
    ],
    [
      { provider: 'aws_polly', model: 'neural' },
      { model: 'gpt', input: 'Hello', voice: 'alloy' },
      'aspeech',
      'https://polly.eu-central-1.amazonaws.com/v1/speech',
      '/eu-central-1/polly/aws4_request',
    ],
  ] as const)('are signed for: %o', async (fields, body, endpoint, url, scope) => {
    const one = deployment('one', { ...fields, apiBase: null, apiKey: null, settings: aws })
    const { call, sent } = make([one], { numRetries: 0 })
    call(body, { endpoint })
    await expect.poll(() => sent.length).toBe(1)
    expect(sent[0]?.request.url).toBe(url)
    expect(sent[0]?.request.headers['authorization']).toContain(scope)
  })

  it('of Azure take their own kind of key', async () => {
    const apiBase = 'https://eastus.api.cognitive.microsoft.com'
    const { call, sent } = make([deployment('one', { provider: 'azure', model: 'speech/azure-tts', apiBase })])
    call({ model: 'gpt', input: 'Hello', voice: 'alloy' }, { endpoint: 'aspeech' })
    await expect.poll(() => sent.length).toBe(1)
    expect(sent[0]?.request.headers).toMatchObject({ 'ocp-apim-subscription-key': 'k' })
    expect(sent[0]?.request.headers).not.toHaveProperty('api-key')
  })

  it('at AssemblyAI are another host than its chats, which take the bare key', async () => {
    const { call, sent } = make([deployment('one', { provider: 'assemblyai', model: 'claude-sonnet-4-5', apiBase: null })])
    call({ model: 'gpt', messages: [{ role: 'user', content: 'hi' }] })
    await expect.poll(() => sent.length).toBe(1)
    expect(sent[0]?.request).toMatchObject({
      url: 'https://llm-gateway.assemblyai.com/v1/chat/completions',
      headers: { authorization: 'k' },
    })
    const heard = make([deployment('one', { provider: 'assemblyai', model: 'universal', apiBase: null })])
    heard.call(FORM, TRANSCRIPTION)
    await expect.poll(() => heard.sent.length).toBe(1)
    expect(heard.sent[0]?.request).toMatchObject({ url: 'https://api.assemblyai.com/v2/upload', headers: { authorization: 'k' } })
  })
})
