import { describe, expect, it } from 'vitest'
import type { ChatRequest } from '../../router-svc/canonical/chat.ts'
import { discovery } from '../../router-svc/dialects/gemini/discovery.testkit.ts'
import { dialects } from '../../router-svc/dialects/index.ts'
import { readForm } from '../../router-svc/form.ts'
import { problemsOf as awsProblems, serviceModel } from '../../router-svc/providers/aws-service-model.testkit.ts'
import { createProviders } from '../../router-svc/providers/index.ts'
import { type Fields, isFields } from '../../router-svc/providers/json.ts'
import type { Adapter, Target, UpstreamRequest } from '../../router-svc/providers/provider.ts'
import { validatorOf } from '../../router-svc/providers/spec.testkit.ts'
import { GatewayError } from '../../shared/errors.ts'
import { answersOf, filesOf, folders, haveRecordings, type Recorded } from './recorded-answers.testkit.ts'
import { FAILING, LEFT, type Reading, readingOf } from './recorded-routes.testkit.ts'
import { decoded, providerFor } from './recorded-sweep.testkit.ts'
import { eventsOf } from './recorded-words.testkit.ts'

/**
 * The published descriptions of APIs, held against what we send and what we answer. Requests are those that clients were recorded
 * sending; answers are made of what providers were recorded answering.
 */
const PROVIDERS = createProviders()
const available = haveRecordings()
const ALL: Recorded[] = available ? folders().flatMap((folder) => filesOf(folder).flatMap((file) => answersOf(folder, file))) : []
const nameOf = ({ folder, file, index }: Recorded): string => `${folder}/${file} ${index}`

type AnyAdapter = Adapter<Fields, unknown, unknown>
type Check = (sent: UpstreamRequest) => string[]

function encoded(provider: string, mode: string, model: string, request: Fields): UpstreamRequest {
  const made = PROVIDERS.get(provider)
  const served = made?.serve?.(model, { baseModel: null, settings: {}, info: {} } as never)
  const adapter = (served?.provider ?? made)?.[mode as 'chat'] as unknown as AnyAdapter | undefined
  if (adapter === undefined) throw new Error(`${provider} has no ${mode}`)
  const target: Target = {
    provider,
    model: served?.model ?? model,
    base: made?.base ?? 'https://bedrock-runtime.us-east-1.amazonaws.com',
    apiVersion: null,
    dropParams: true,
    additionalDropParams: [],
    allowedOpenaiParams: [],
    maxOutputTokens: 8192,
    settings: {},
    clientHeaders: {},
  }
  return adapter.encodeRequest({ ...request, model }, target)
}

/** Of a recorded request what OpenAI has; other vendors' fields are theirs. Bytes that were not kept are some others. */
function inOpenaiForm(request: Fields): Fields {
  const text = JSON.stringify(request).replace(/OMITTED_BASE64\([^)]*\)/g, 'AAAA')
  return Object.fromEntries(Object.entries(JSON.parse(text) as Fields).filter(([name]) => !FOREIGN.has(name)))
}

/** What requests may have against a description, and why. */
const REQUESTS: readonly (readonly [string, RegExp, string])[] = [
  ['openai', /^\/max_output_tokens must/, 'fewer than it takes: the client asked for so few, and the provider says so'],
  ['gemini', /"not_valid_base64_data!!!"/, 'the client sent what is no base64'],
  ['mistral', /^\/tools\/\d+\/function must NOT have additional properties$/, 'members of the client’s own'],
  [
    'mistral',
    /\/input_audio must|\/content\/\d+\/type must be equal to constant/,
    'it takes OpenAI’s form of sound, as recorded',
  ],
]

const FOREIGN: ReadonlySet<string> = new Set(
  'clear_thinking enable_thinking extra_body max_new_tokens options provider reasoning reasoning_format return_full_text thinking'.split(
    ' ',
  ),
)

const bodyOf = ({ body }: UpstreamRequest): unknown => JSON.parse(Buffer.from(body).toString('utf8'))

describe.skipIf(!haveRecordings())('requests by the descriptions of APIs', () => {
  const isChat = available ? validatorOf('openai', 'CreateChatCompletionRequest') : () => []
  const seen = new Map<string, readonly [string, Fields]>()
  for (const one of ALL) {
    const request = one.client ?? (/\/chat\/completions$/.test(one.url) ? one.request : null)
    if (request === null || !Array.isArray(request['messages'])) continue
    const asked = inOpenaiForm(request)
    if (isChat(asked).length === 0) seen.set(JSON.stringify(asked), [nameOf(one), asked])
  }
  const requests = [...seen.values()]
  const google = available ? discovery() : null
  const aws = available ? serviceModel('bedrock-runtime') : null
  const json = (spec: Parameters<typeof validatorOf>[0], schema: string): Check => {
    const validate = available ? validatorOf(spec, schema) : () => []
    return (sent) => validate(bodyOf(sent))
  }

  it.each<[string, string, Check]>([
    ['openai', 'gpt-4o', json('openai', 'CreateChatCompletionRequest')],
    ['openai', 'responses/gpt-5', json('openai', 'CreateResponse')],
    ['anthropic', 'claude-sonnet-4-5', json('anthropic', 'CreateMessageParams')],
    ['mistral', 'mistral-large-latest', json('mistral', 'ChatCompletionRequest')],
    ['ollama', 'llama3.2', json('ollama', 'ChatRequest')],
    ['gemini', 'gemini-2.5-pro', (sent) => google?.problems(bodyOf(sent), 'GenerateContentRequest') ?? []],
    [
      'bedrock',
      'us.anthropic.claude-sonnet-4-5-20250929-v1:0',
      (sent) => awsProblems(aws as NonNullable<typeof aws>, sent.url.endsWith('-stream') ? 'ConverseStream' : 'Converse', sent),
    ],
  ])('%s %s is sent what it describes, whichever recorded chat a client has', (provider, model, check) => {
    const wrong: string[] = []
    let valid = 0
    for (const [name, request] of requests) {
      let sent: UpstreamRequest
      try {
        sent = encoded(provider, 'chat', model, request)
      } catch (error) {
        // Refused by name before it is sent.
        if (error instanceof GatewayError && /^(?:bad_request|unsupported_parameter)$/.test(error.code)) continue
        throw error
      }
      const problems = check(sent).filter((text) => !REQUESTS.some(([to, pattern]) => to === provider && pattern.test(text)))
      if (problems.length === 0) valid += 1
      else wrong.push(`${name}: ${problems.join('; ')}`)
    }
    expect(wrong).toEqual([])
    expect(valid).toBeGreaterThan(requests.length * 0.8)
  })
})

describe.skipIf(!haveRecordings())('requests to OpenAI’s other endpoints by its description', () => {
  it.each<[string, string, keyof typeof dialects, RegExp, string]>([
    ['embedding', 'text-embedding-3-small', 'openai-embedding', /(?<!\/api)\/embeddings$/, 'CreateEmbeddingRequest'],
    ['completion', 'gpt-3.5-turbo-instruct', 'openai-completion', /\/v1\/completions$/, 'CreateCompletionRequest'],
    ['image', 'gpt-image-1', 'openai-image', /\/images\/generations$/, 'CreateImageRequest'],
    ['moderation', 'omni-moderation-latest', 'openai-moderation', /\/moderations$/, 'CreateModerationRequest'],
    ['speech', 'tts-1', 'openai-speech', /\/audio\/speech$/, 'CreateSpeechRequest'],
    ['responses', 'gpt-5', 'openai-responses', /openai\.com\/v1\/responses$/, 'CreateResponse'],
  ])('%s', (mode, model, dialect, path, schema) => {
    const validate = validatorOf('openai', schema)
    const asked = ALL.filter(({ url, request, status }) => path.test(url) && request !== null && status < 400)
    const requests = asked.filter(({ request }) => validate(request).length === 0)
    // What others’ clients add of their own is no request to OpenAI.
    expect(requests.length).toBeGreaterThan(asked.length / 2)
    for (const one of requests) {
      const canonical = dialects[dialect].decodeRequest({ ...(one.request as Fields), model: 'alias' }) as Fields
      const sent = encoded('openai', mode, model, canonical)
      expect(validate(bodyOf(sent)), nameOf(one)).toEqual([])
    }
  })

  it('transcription, a form', async () => {
    const validate = validatorOf('openai', 'CreateTranscriptionRequest')
    const forms = ALL.filter(({ url, form = [] }) => /\/audio\/transcriptions$/.test(url) && form.length > 0)
    expect(forms.length).toBeGreaterThan(4)
    for (const one of forms) {
      const fields: Fields = {}
      for (const { name, value, filename, content_type: type } of one.form ?? [])
        fields[name] = filename === undefined ? value : { name: filename, type, bytes: Buffer.from('RIFF') }
      const canonical = dialects['openai-transcription'].decodeRequest({ ...fields, model: 'alias' }) as Fields
      const sent = encoded('openai', 'transcription', 'whisper-1', canonical)
      const read = await readForm(Buffer.from(sent.body), sent.headers['content-type'])
      // A file is a string of bytes to the description, and a form knows only text.
      expect(validate({ ...read, file: 'RIFF' }), nameOf(one)).toEqual([])
      expect(read).toMatchObject({ model: 'whisper-1', file: { bytes: new Uint8Array(Buffer.from('RIFF')) } })
    }
  })
})

/** A recorded answer as the canonical one, and who gave it. */
interface Answered {
  name: string
  provider: string
  mode: Reading['mode']
  request: Fields
  answer: ReturnType<typeof decoded>
}

/** Of every provider the first few: the adapters are the same for all. */
const MOST = 6

function answered(modes: readonly string[]): Answered[] {
  const counts = new Map<string, number>()
  return ALL.flatMap((one) => {
    const reading = readingOf(one)
    const key = `${one.folder}/${one.file} ${one.index} ${one.method} ${one.url}`
    const isOut = [...LEFT, ...FAILING].some(([pattern]) => pattern.test(key))
    if (reading === null || !modes.includes(reading.mode) || one.status >= 400 || isOut) return []
    // Events that only go by.
    if (one.stream !== null && reading.family === undefined) return []
    const form = `${reading.provider} ${reading.mode} ${one.stream} ${kindOf(one.file)}`
    const count = counts.get(form) ?? 0
    if (count >= MOST) return []
    let answer: ReturnType<typeof decoded>
    try {
      answer = decoded(one, reading)
    } catch (error) {
      // A failure in the midst of a stream is no answer.
      if (error instanceof GatewayError) return []
      throw error
    }
    counts.set(form, count + 1)
    return [{ name: nameOf(one), provider: reading.provider, mode: reading.mode, request: one.request ?? {}, answer }]
  })
}

/** What a file shows, by its name: the fixtures' README. */
const kindOf = (file: string): string => file.split('__')[0] ?? ''

describe.skipIf(!haveRecordings())('answers by the descriptions of APIs', () => {
  const chats = answered(['chat', 'responses'])
  const { responses: client } = dialects['openai-responses'].decodeRequest({ model: 'alias', input: 'hello' }) as ChatRequest

  it('are made of what many providers said', () => {
    const whole = new Set(chats.filter(({ answer }) => 'whole' in answer).map(({ provider }) => provider))
    const streamed = new Set(chats.filter(({ answer }) => 'chunks' in answer).map(({ provider }) => provider))
    expect(whole.size).toBeGreaterThanOrEqual(20)
    expect(streamed.size).toBeGreaterThanOrEqual(15)
  })

  it.each([
    ['openai-chat', 'openai', 'CreateChatCompletionResponse', 'CreateChatCompletionStreamResponse'],
    ['anthropic', 'anthropic', 'Message', 'MessageStreamEvent'],
    ['openai-responses', 'openai', 'Response', 'ResponseStreamEvent'],
  ] as const)('a client of %s gets what %s describes, whole and streamed', (name, spec, whole, event) => {
    const dialect = dialects[name]
    const [isWhole, isEvent] = [validatorOf(spec, whole), validatorOf(spec, event)]
    const found = new Findings(name)
    for (const one of ALL) {
      if (!isVendors(one, name)) continue
      if (one.stream === null) found.real(isWhole(JSON.parse(Buffer.from(one.body).toString('utf8'))))
      else for (const { data } of eventsOf('sse', Buffer.from(one.body).toString('utf8'))) found.real(isEvent(data))
    }
    const responses = { ...(client as NonNullable<typeof client>), id: 'resp_ours', key: '0123abcd' }
    for (const { name: file, answer } of chats) {
      if ('whole' in answer) {
        const request = { model: 'alias', messages: [], responses }
        const body = dialect.encodeResponse(structuredClone(answer.whole), 'alias', request)
        found.ours(file, isWhole(JSON.parse(String(body))))
        continue
      }
      const encoder = dialect.encodeStream({ model: 'alias', includeUsage: true, responses })
      const text = answer.chunks.map((chunk) => encoder.push(structuredClone(chunk))).join('') + encoder.end()
      for (const { data } of eventsOf('sse', text)) found.ours(file, isEvent(data))
    }
    expect(found.left()).toEqual([])
  })

  it.each<[string, Reading['mode'], string, RegExp]>([
    ['openai-completion', 'completion', 'CreateCompletionResponse', /\/v1\/completions$/],
    ['openai-embedding', 'embedding', 'CreateEmbeddingResponse', /\/embeddings$/],
    ['openai-image', 'image', 'ImagesResponse', /\/images\/generations$/],
    ['openai-moderation', 'moderation', 'CreateModerationResponse', /\/moderations$/],
    ['openai-transcription', 'transcription', 'CreateTranscriptionResponseJson', /\/audio\/transcriptions$/],
  ])('a client of %s gets what OpenAI describes', (name, mode, schema, path) => {
    const dialect = dialects[name as keyof typeof dialects]
    const validate = validatorOf('openai', schema)
    const found = new Findings(name)
    for (const one of ALL) {
      if (one.status >= 400 || !one.url.startsWith('https://api.openai.com/') || !path.test(one.url)) continue
      const text = Buffer.from(one.body).toString('utf8')
      if (one.stream === null) found.real(validate(JSON.parse(text)))
      else for (const { data } of eventsOf('sse', text)) found.real(validate(data))
    }
    const all = answered([mode])
    expect(all.length).toBeGreaterThan(2)
    for (const { name: file, answer } of all) {
      // A text that was asked for as such.
      if ('whole' in answer && isFields(answer.whole) && answer.whole['raw'] !== undefined) continue
      if ('whole' in answer) {
        const body = dialect.encodeResponse(answer.whole, 'alias', { model: 'alias', response_format: 'json' })
        found.ours(file, validate(JSON.parse(String(body))))
        continue
      }
      const encoder = dialect.encodeStream({ model: 'alias', includeUsage: true })
      const text = answer.chunks.map((chunk) => encoder.push(chunk)).join('') + encoder.end()
      for (const { data } of eventsOf('sse', text)) found.ours(file, validate(data))
    }
    expect(found.left()).toEqual([])
  })

  it('refusals are errors of both', () => {
    const [ofOpenai, ofAnthropic] = [validatorOf('openai', 'ErrorResponse'), validatorOf('anthropic', 'ErrorResponse')]
    const refused = ALL.flatMap((one) => {
      const reading = one.status >= 400 ? readingOf(one) : null
      return reading === null
        ? []
        : [providerFor(reading).decodeError(one.status, one.headers, Buffer.from(one.body).toString('utf8'))]
    })
    expect(refused.length).toBeGreaterThan(30)
    const found = new Findings('errors')
    for (const error of refused) {
      found.ours('', ofOpenai(JSON.parse(dialects['openai-chat'].encodeError(error))))
      found.ours('', ofOpenai(JSON.parse(dialects['openai-responses'].encodeError(error))))
      found.ours('', ofAnthropic(JSON.parse(dialects.anthropic.encodeError(error))))
    }
    expect(found.left()).toEqual([])
  })
})

/** Whether an answer was recorded of the vendor that describes the protocol. */
function isVendors({ folder, file, status, url }: Recorded, dialect: string): boolean {
  if (status >= 400) return false
  // Captures without their address, all of them of the vendor's own service.
  if (folder === 'translation')
    return file.includes(`_to_${dialect.replace('openai-chat', 'chat-completions').replace('openai-', '')}.`)
  if (url === '') return folder === dialect
  if (dialect === 'anthropic') return url === 'https://api.anthropic.com/v1/messages'
  return url === `https://api.openai.com/v1/${dialect === 'openai-chat' ? 'chat/completions' : 'responses'}`
}

/** What answers of ours have against a description, but for what the vendor's own recorded answers have against it, too, and EXCEPTIONS. */
class Findings {
  readonly #name: string
  readonly #real = new Set<string>()
  readonly #ours = new Map<string, string>()

  constructor(name: string) {
    this.#name = name
  }

  real(problems: readonly string[]): void {
    for (const problem of problems) this.#real.add(placeless(problem))
  }

  ours(file: string, problems: readonly string[]): void {
    for (const problem of problems) {
      const text = placeless(problem)
      if (!this.#ours.has(text)) this.#ours.set(text, file)
    }
  }

  left(): string[] {
    const excepted = (text: string) => EXCEPTIONS.some(([name, pattern]) => name === this.#name && pattern.test(text))
    return [...this.#ours].filter(([text]) => !this.#real.has(text) && !excepted(text)).map(([text, file]) => `${text} (${file})`)
  }
}

const placeless = (problem: string): string => problem.replace(/\/\d+/g, '/*')

/** What answers may have against a description of their form, and why. */
const EXCEPTIONS: readonly (readonly [string, RegExp, string])[] = [
  ['openai-chat', /^\/service_tier must/, 'other vendors’ tiers have other names'],
  [
    'openai-chat',
    /^\/choices\/\*\/message\/annotations(?:\/\*\/type)? must/,
    'annotations of OpenAI’s other API, and null for none',
  ],
  ['openai-chat', /_tokens_details(?:\/audio_tokens)? must be/, 'servers say null of what they do not count'],
  [
    'openai-chat',
    /^\/choices\/\*\/delta\/tool_calls\/\*\/type must/,
    'custom tools, which the description has in whole answers only',
  ],
  [
    'openai-completion',
    /_tokens_details(?:\/audio_tokens)? must be|^\/system_fingerprint must/,
    'servers say null of what they do not count',
  ],
  ['openai-completion', /required property 'logprobs'$/, 'servers that have none leave them out'],
  ['openai-transcription', /^\/usage must/, 'vendors that count otherwise than by tokens or seconds alone'],
  ['openai-image', /^\/usage must have required/, 'vendors that tell a cost and no tokens'],
  [
    'anthropic',
    /usage must have required property '(?:cache_\w+|inference_geo|service_tier)'$/,
    'told where there is any: younger than many clients',
  ],
  [
    'anthropic',
    /^\/content\/\*\/id must match pattern/,
    'ids of other vendors’ calls are kept, or their answers would find none',
  ],
  ['errors', /required property 'request_id'$/, 'the id of a call is in a header'],
]
