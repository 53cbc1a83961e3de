import { awsFrame } from '../../router-svc/aws-event-stream.testkit.ts'
import type { ChatChunk, ChatResponse } from '../../router-svc/canonical/chat.ts'
import type { CarriedIds } from '../../router-svc/carried/carrier.ts'
import { carriedIds } from '../../router-svc/carried/ids.ts'
import { messageBatches } from '../../router-svc/carried/message-batches.ts'
import { idWriter, withOurIds } from '../../router-svc/carried/object-ids.ts'
import { eventParser } from '../../router-svc/framing.ts'
import { createProviders } from '../../router-svc/providers/index.ts'
import { type Fields, isFields } from '../../router-svc/providers/json.ts'
import { cuts } from '../../router-svc/providers/provider.suite.ts'
import type { Adapter, DecodeContext, Provider } from '../../router-svc/providers/provider.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Recorded } from './recorded-answers.testkit.ts'
import { FAILING, type Reading } from './recorded-routes.testkit.ts'
import { eventsOf, type Said, said } from './recorded-words.testkit.ts'

const PROVIDERS = createProviders()

type AnyAdapter = Adapter<Fields, unknown, unknown>

/** What is wrong with how an adapter reads a recorded answer; empty where nothing is. */
export async function problemsOf(recorded: Recorded, reading: Reading, seed: number): Promise<string[]> {
  try {
    return await found(reading.provider === 'sagemaker' ? inFrames(recorded) : recorded, reading, seed)
  } catch (error) {
    return [error instanceof GatewayError ? `${error.code}: ${error.message}` : String((error as Error).stack).slice(0, 400)]
  }
}

function found(recorded: Recorded, reading: Reading, seed: number): string[] | Promise<string[]> {
  const provider = providerFor(reading)
  if (recorded.status >= 400) return refusal(recorded, provider)
  if (reading.mode === 'carried') return carried(recorded)
  const adapter = provider[reading.mode] as unknown as AnyAdapter | undefined
  if (adapter === undefined) return [`${reading.provider} has no ${reading.mode}`]
  if (reading.family === undefined)
    return WITHOUT_WORDS[reading.mode]?.(recorded, adapter, contextOf(recorded, reading)) ?? [`no check of ${reading.mode}`]
  const expected = said(reading.family, recorded.inner ?? recorded)
  if (recorded.stream === null) {
    const whole = adapter.decodeResponse(recorded.body, recorded.headers, contextOf(recorded, reading))
    return differences(expected, wholeWords(whole as ChatResponse))
  }
  if (failsInTheMidst(recorded.inner ?? recorded)) return failure(() => streamed(recorded, reading, adapter, [recorded.body]))
  const failing = FAILING.find(([pattern]) => pattern.test(`${recorded.folder}/${recorded.file}`))
  if (failing !== undefined) return failure(() => streamed(recorded, reading, adapter, [recorded.body]), failing[1])
  const [whole = [], single, random] = cuts(recorded.body, seed).map((pieces) => streamed(recorded, reading, adapter, pieces))
  const wrong = differences(expected, streamedWords(whole))
  if (JSON.stringify(single) !== JSON.stringify(whole)) wrong.push('byte by byte it reads otherwise')
  if (JSON.stringify(random) !== JSON.stringify(whole)) wrong.push(`cut at seed ${seed} it reads otherwise`)
  return wrong
}

/** What the adapter makes of an answer: the whole, or the chunks of a stream. Throws what the adapter throws. */
export function decoded(given: Recorded, reading: Reading): { whole: unknown } | { chunks: ChatChunk[] } {
  const recorded = reading.provider === 'sagemaker' ? inFrames(given) : given
  const adapter = providerFor(reading)[reading.mode as 'chat'] as unknown as AnyAdapter
  if (recorded.stream !== null) return { chunks: streamed(recorded, reading, adapter, [recorded.body]) }
  return { whole: adapter.decodeResponse(recorded.body, recorded.headers, contextOf(recorded, reading)) }
}

export function providerFor({ provider: name, model }: Reading): Provider {
  const provider = PROVIDERS.get(name)
  if (provider === undefined) throw new Error(`no provider ${name}`)
  return provider.serve?.(model, { baseModel: null, settings: {}, info: {} } as never)?.provider ?? provider
}

/** A stream as SageMaker hands it on: its bytes in AWS's frames. */
function inFrames(recorded: Recorded): Recorded {
  if (recorded.stream !== 'sse') return recorded
  const names = { ':event-type': 'PayloadPart', ':content-type': 'application/octet-stream', ':message-type': 'event' }
  const text = Buffer.from(recorded.body).toString('utf8')
  const frames = (text.match(/[\s\S]{1,200}/g) ?? []).map((piece) => awsFrame(names, piece))
  return { ...recorded, body: Buffer.concat(frames), inner: recorded }
}

/** What was asked counts where it was asked in our words. */
function contextOf({ request, stream, headers }: Recorded, { model, mode, family }: Reading): DecodeContext {
  const asked: Fields = family === 'openai' || family === undefined ? { ...request } : {}
  if (mode === 'rerank') asked['documents'] ??= Array.from({ length: 99 }, (_, at) => `document ${at}`)
  if (stream !== null) asked['stream'] = true
  if (headers['content-type']?.startsWith('text/plain')) asked['response_format'] = 'text'
  return { id: 'swept', created: 1, model, request: asked }
}

function streamed(recorded: Recorded, reading: Reading, adapter: AnyAdapter, pieces: Iterable<Uint8Array>): ChatChunk[] {
  if (adapter.decodeStream === undefined) throw new Error('it does not stream')
  const decoder = adapter.decodeStream(contextOf(recorded, reading))
  const parser = eventParser(adapter.framing ?? 'sse')
  const chunks: unknown[] = []
  for (const piece of pieces) for (const event of parser.push(piece)) if (!decoder.done) chunks.push(...decoder.push(event))
  for (const event of parser.end()) if (!decoder.done) chunks.push(...decoder.push(event))
  return [...chunks, ...decoder.end()] as ChatChunk[]
}

interface Words extends Omit<Said, 'finish'> {
  finish: (string | null)[]
}

function wholeWords(response: ChatResponse): Words {
  const messages = response.choices.map((choice) => choice.message ?? { content: (choice as Fields)['text'] })
  return {
    texts: messages.map(({ content }) => String(content ?? '')),
    reasoning: messages.map(({ reasoning_content: reasoning }) => reasoning ?? '').join(''),
    calls: messages
      .flatMap(({ tool_calls: calls, function_call: legacy }) => [...(calls ?? []), ...(legacy ? [{ function: legacy }] : [])])
      .map((call) => callOf(call as Fields)),
    finish: response.choices.map(({ finish_reason: reason }) => reason),
    input: response.usage?.prompt_tokens ?? null,
    output: response.usage?.completion_tokens ?? null,
  }
}

function callOf(call: Fields): Said['calls'][number] {
  const { custom, function: called } = call as {
    custom?: { name: string; input: string }
    function?: { name: string; arguments: string }
  }
  if (custom !== undefined) return { name: custom.name, arguments: custom.input }
  return { name: called?.name ?? '', arguments: JSON.parse(called?.arguments || '{}') }
}

function streamedWords(chunks: readonly ChatChunk[]): Words {
  const words: Words = { texts: [], reasoning: '', calls: [], finish: [], input: null, output: null }
  const calls = new Map<string, Fields>()
  for (const chunk of chunks) {
    for (const { index, delta = {}, finish_reason: reason, ...rest } of chunk.choices) {
      const text = delta.content ?? rest['text']
      words.texts[index] = (words.texts[index] ?? '') + (typeof text === 'string' ? text : '')
      words.reasoning += delta.reasoning_content ?? ''
      if (reason) words.finish[index] = reason
      for (const call of delta.tool_calls ?? []) {
        const key = `${index} ${call.index}`
        const made = calls.get(key)
        if (made === undefined) calls.set(key, structuredClone(call) as unknown as Fields)
        else {
          if (isFields(made['function']))
            made['function']['arguments'] = `${made['function']['arguments'] ?? ''}${call.function?.arguments ?? ''}`
          if (isFields(made['custom']))
            made['custom']['input'] = `${made['custom']['input'] ?? ''}${(call['custom'] as Fields | undefined)?.['input'] ?? ''}`
        }
      }
    }
    if (chunk.usage) {
      words.input = chunk.usage.prompt_tokens
      words.output = chunk.usage.completion_tokens
    }
  }
  words.calls = [...calls.values()].map(callOf)
  return words
}

/** Every name a provider has for why it stopped, in OpenAI's. */
const FINISH: Readonly<Record<string, string>> = {
  stop: 'stop',
  end_turn: 'stop',
  stop_sequence: 'stop',
  STOP: 'stop',
  STOP_SEQUENCE: 'stop',
  COMPLETE: 'stop',
  completed: 'stop',
  FINISH: 'stop',
  eos: 'stop',
  eos_token: 'stop',
  length: 'length',
  max_tokens: 'length',
  MAX_TOKENS: 'length',
  max_output_tokens: 'length',
  tool_calls: 'tool_calls',
  tool_use: 'tool_calls',
  TOOL_CALL: 'tool_calls',
  function_call: 'function_call',
  content_filter: 'content_filter',
  SAFETY: 'content_filter',
  refusal: 'content_filter',
  guardrail_intervened: 'content_filter',
}

function differences(expected: Said, words: Words): string[] {
  const wrong: string[] = []
  const differ = (what: string, left: unknown, right: unknown) => {
    const [recorded, read] = [JSON.stringify(left), JSON.stringify(right)]
    if (recorded !== read) wrong.push(`${what}: recorded ${shown(recorded, read)}, read ${shown(read, recorded)}`)
  }
  differ('text', trimmed(expected.texts), trimmed(words.texts))
  // Parts of a summary stand apart.
  differ('reasoning', expected.reasoning.replace(/\s+/g, ''), words.reasoning.replace(/\s+/g, ''))
  differ('calls', expected.calls, words.calls)
  if (expected.input !== null) differ('input tokens', expected.input, words.input)
  if (expected.output !== null) differ('output tokens', expected.output, words.output)
  // Some servers say nothing of it.
  const told = expected.finish.filter((reason) => reason !== '').length > 0 ? expected.finish : ['stop']
  const reasons = told.map((reason) => FINISH[reason] ?? `(${reason})`)
  // A call is a call, whatever the provider says it stopped for.
  const asked = reasons.map((reason) => (reason === 'stop' && expected.calls.length > 0 ? 'tool_calls' : reason))
  if (JSON.stringify(words.finish) !== JSON.stringify(reasons)) differ('finish', asked, words.finish)
  return wrong
}

function trimmed(texts: readonly string[]): string[] {
  return texts.filter((text) => text !== '')
}

/** Where two long texts begin to differ. */
function shown(text: string | undefined, other: string | undefined): string {
  if (text === undefined) return 'nothing'
  let at = 0
  while (at < text.length && text[at] === other?.[at]) at += 1
  return `…${text.slice(Math.max(0, at - 20), at + 80)}`
}

type Check = (recorded: Recorded, adapter: AnyAdapter, context: DecodeContext) => string[]

/** Modes whose answers are no words of a model. */
const WITHOUT_WORDS: Readonly<Partial<Record<Reading['mode'], Check>>> = {
  embedding: (recorded, adapter, context) => {
    const read = adapter.decodeResponse(recorded.body, recorded.headers, context) as Fields
    const vectors = vectorsIn(bodyOf(recorded))
    const given = (read['data'] as Fields[]).map(({ embedding }) => embedding)
    return given.length > 0 && given.every((one) => isAmong(one, vectors)) ? [] : [`${given.length} vectors of ${vectors.length}`]
  },
  rerank: (recorded, adapter, context) => {
    const read = adapter.decodeResponse(recorded.body, recorded.headers, context) as { results: Fields[] }
    const scores = objectsIn(bodyOf(recorded)).filter(({ index }) => typeof index === 'number')
    const wanted = scores.map(({ index, relevance_score: snake, relevanceScore: camel }) => [index, snake ?? camel])
    const given = read.results.map(({ index, relevance_score: score }) => [index, score])
    return wanted.length > 0 && JSON.stringify(given) === JSON.stringify(wanted) ? [] : [`ranked ${JSON.stringify(given)}`]
  },
  moderation: (recorded, adapter, context) => {
    const read = adapter.decodeResponse(recorded.body, recorded.headers, context) as { results: unknown }
    const { results } = bodyOf(recorded) as Fields
    return JSON.stringify(read.results) === JSON.stringify(results) ? [] : ['other results']
  },
  count_tokens: (recorded, adapter, context) => {
    const { tokens } = adapter.decodeResponse(recorded.body, recorded.headers, context) as { tokens: number }
    const { input_tokens: anthropic, totalTokens } = bodyOf(recorded) as Fields
    return tokens === (anthropic ?? totalTokens) ? [] : [`${tokens} tokens`]
  },
  image: (recorded, adapter, context) => {
    const { data } = adapter.decodeResponse(recorded.body, recorded.headers, context) as { data: Fields[] }
    const body = Buffer.from(recorded.body).toString('utf8')
    const kept = data.filter(({ url, b64_json: bytes }) => body.includes(JSON.stringify(url ?? bytes)))
    return data.length > 0 && kept.length === data.length ? [] : [`${kept.length} images`]
  },
  transcription: (recorded, adapter, context) => {
    if (recorded.stream !== null) return forwarded(recorded, adapter, context)
    const { text, raw } = adapter.decodeResponse(recorded.body, recorded.headers, context) as { text: string; raw?: string }
    if (raw !== undefined) return raw === Buffer.from(recorded.body).toString('utf8') ? [] : [`heard ${raw}`]
    const heard = objectsIn(bodyOf(recorded)).flatMap(({ text, transcript }) => [text, transcript])
    const said = heard.filter((one) => typeof one === 'string').map((one) => one.trim())
    return text !== '' && said.includes(text.trim()) ? [] : [`heard ${text}`]
  },
  speech: (recorded, adapter, context) => {
    if (adapter.forward?.(recorded.headers, context)) return forwarded(recorded, adapter, context)
    const { audio } = adapter.decodeResponse(recorded.body, recorded.headers, context) as { audio: Uint8Array }
    const text = Buffer.from(recorded.body).toString('utf8')
    const isSame = Buffer.compare(audio, recorded.body) === 0 || text.includes(Buffer.from(audio).toString('base64'))
    return audio.length > 0 && isSame ? [] : ['other sound']
  },
}

/** Bytes that go to the client as they come are only looked at. */
function forwarded({ headers, body }: Recorded, adapter: AnyAdapter, context: DecodeContext): string[] {
  const forwarding = adapter.forward?.(headers, context)
  if (!forwarding) return ['it is not forwarded']
  forwarding.see?.(body)
  forwarding.end?.()
  return Object.values(forwarding.usage()).some((count) => typeof count === 'number' && count >= 0) ? [] : ['nothing to bill']
}

function bodyOf({ body }: Recorded): unknown {
  return JSON.parse(Buffer.from(body).toString('utf8'))
}

function objectsIn(value: unknown): Fields[] {
  if (Array.isArray(value)) return value.flatMap(objectsIn)
  return isFields(value) ? [value, ...Object.values(value).flatMap(objectsIn)] : []
}

/** The same numbers; bytes as numbers, where a client wanted none in base64. */
function isAmong(given: unknown, vectors: readonly unknown[]): boolean {
  return vectors.some((vector) => {
    if (JSON.stringify(vector) === JSON.stringify(given)) return true
    if (Array.isArray(vector)) return typeof given === 'string' && areNear([...floatsIn(given)], vector)
    if (typeof vector !== 'string' || !Array.isArray(given)) return false
    return areNear(given, [...floatsIn(vector)]) || areNear(given, [...new Int8Array(Buffer.from(vector, 'base64'))])
  })
}

function areNear(left: unknown[], right: unknown[]): boolean {
  return (
    left.length > 0 && left.length === right.length && left.every((one, at) => Math.abs(Number(one) - Number(right[at])) < 1e-6)
  )
}

function floatsIn(base64: string): Float32Array {
  const bytes = Uint8Array.from(Buffer.from(base64, 'base64'))
  return bytes.length % 4 === 0 ? new Float32Array(bytes.buffer) : new Float32Array()
}

/** Lists of numbers, or vectors in base64. */
function vectorsIn(value: unknown, name = ''): unknown[] {
  if (typeof value === 'string') return name === 'embedding' ? [value] : []
  if (Array.isArray(value)) return typeof value[0] === 'number' ? [value] : value.flatMap((one) => vectorsIn(one))
  return isFields(value) ? Object.entries(value).flatMap(([member, one]) => vectorsIn(one, member)) : []
}

/** The provider tells of its failure when the answer is under way. */
function failsInTheMidst({ stream, body }: Recorded): boolean {
  if (stream !== 'sse') return false
  return eventsOf('sse', Buffer.from(body).toString('utf8')).some(({ name, data }) => name === 'error' || isFields(data['error']))
}

function failure(read: () => unknown, code = 'provider_'): string[] {
  try {
    read()
  } catch (error) {
    if (error instanceof GatewayError && error.code.startsWith(code)) return []
    throw error
  }
  return ['a failure in its midst is read as an answer']
}

/** Codes a refusal may have, by its status (surface reference §6.3). */
const REFUSALS: Readonly<Record<number, RegExp>> = {
  // Google says so of keys, others of models.
  400: /^(?:provider_bad_request|provider_authentication|context_window_exceeded|content_policy|provider_not_found|unsupported_parameter)$/,
  401: /^provider_authentication$/,
  // AWS says so of keys.
  403: /^provider_(?:permission|authentication)$/,
  404: /^provider_not_found$/,
  408: /^provider_timeout$/,
  413: /^(?:provider_bad_request|context_window_exceeded)$/,
  422: /^(?:provider_(?:unprocessable|bad_request)|context_window_exceeded)$/,
  429: /^provider_(?:rate_limited|quota)$/,
  500: /^provider_error$/,
  502: /^provider_bad_gateway$/,
  503: /^provider_(?:unavailable|overloaded)$/,
  529: /^provider_overloaded$/,
}
const TOO_LONG =
  /`max_new_tokens` must be|exceeds the maximum number of tokens|context length|maximum context|too many tokens|prompt is too long|input is too long|context window/i
const POLICY = /content[ _](?:policy|management|filter)|responsible ai|safety system/i

function refusal(recorded: Recorded, provider: Provider): string[] {
  const text = Buffer.from(recorded.body).toString('utf8')
  const { code, message } = provider.decodeError(recorded.status, recorded.headers, text)
  if (TOO_LONG.test(text) !== (code === 'context_window_exceeded')) return [`${code} of ${text.slice(0, 200)}`]
  if (POLICY.test(text) !== (code === 'content_policy')) return [`${code} of ${text.slice(0, 200)}`]
  const fits = REFUSALS[recorded.status]?.test(code) === true && /^litellm\.\w+: \w+Exception - |^litellm\./.test(message)
  return fits ? [] : [`${recorded.status} is ${code}: ${message}`]
}

/** An object of a provider on its way to a client: the same but for ids, and those are of the same objects. */
async function carried(recorded: Recorded): Promise<string[]> {
  if (!recorded.headers['content-type']?.includes('json')) return []
  const ids = carriedIds({ teamId: null, userId: 'swept', keyHash: 'swept' }, { sign: () => 'proof' })
  const value = bodyOf(recorded)
  const shown = recorded.url.includes('/messages/batches')
    ? await shownBatch(recorded, ids)
    : withOurIds(value, idWriter('deployment', ids, new Map()))
  const changed = new Set<string>()
  const back = rewritten(shown, (text) => {
    const object = ids.decode(text)
    if (object === null) return text
    changed.add(object.id)
    return object.deploymentId === 'deployment' ? object.id : text
  })
  const wrong = JSON.stringify(back) === JSON.stringify(value) ? [] : [`it is another: ${JSON.stringify(shown).slice(0, 300)}`]
  const id = isFields(value) ? value['id'] : undefined
  const isOwn = typeof id === 'string' && /^(?:file|batch|vs|asst|thread|msgbatch)[-_]/.test(id)
  return isOwn && !changed.has(id) ? [...wrong, `${id} is the provider's`] : wrong
}

async function shownBatch({ method, status, headers, body }: Recorded, ids: CarriedIds): Promise<unknown> {
  const request = { method, pattern: '/v1/messages/batches', params: {}, headers: {}, identity: {} }
  const provider = providerFor({ provider: 'anthropic', mode: 'chat', model: 'm' })
  const route = {
    deployment: { id: 'deployment', provider: 'anthropic' },
    target: { base: 'https://api.anthropic.com' },
    provider,
  }
  const objects = { keep: () => undefined, list: async () => ({ objects: [], more: false }) }
  const tools = { ask: async () => ({ status, headers, body }), ids, objects }
  const choice = { route, model: 'm', modelGroup: 'm', id: 'msgbatch_1', body: null }
  const answer = await messageBatches.serve(request as never, choice as never, tools as never)
  if (answer.kind !== 'answer') throw new Error('a batch is forwarded unread')
  const shown = JSON.parse(String(answer.body)) as Fields
  // Where its results are is told in our address, asked by our id.
  const { results_url: own } = bodyOf({ body } as Recorded) as Fields
  return typeof own === 'string' ? { ...shown, results_url: own } : shown
}

function rewritten(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value)
  if (Array.isArray(value)) return value.map((one) => rewritten(one, change))
  if (!isFields(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, rewritten(member, change)]))
}
