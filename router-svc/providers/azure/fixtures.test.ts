import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Mode } from '../../../proto/endpoints.ts'
import type { GatewayError } from '../../../shared/errors.ts'
import type { ChatChunk, ChatResponse } from '../../canonical/chat.ts'
import type { EmbeddingResponse } from '../../canonical/embedding.ts'
import { PassThroughStream } from '../../pass-through.ts'
import { createProviders } from '../index.ts'
import { haveRecordings, type Recording, recordings } from '../openai/recordings.suite.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import { cuts, decodePieces, foldChunks } from '../provider.suite.ts'
import type { Adapter, DecodeContext, Provider, Target } from '../provider.ts'

const FOLDER = new URL('../../../../shared/fixtures/azure/', import.meta.url)
const PATH = /\/(chat\/completions|embeddings)(?:\?|$)/

/** One recorded exchange; `url` is empty where the recorder kept only the answer. */
interface Exchange extends Recording {
  url: string
}

function exchanges(): Exchange[] {
  return readdirSync(FOLDER)
    .filter((file) => file !== 'ORIGIN.md')
    .flatMap((file) => {
      // Vercel's other files of this folder are of the Responses API.
      if (file.endsWith('.chunks.txt')) return file.includes('model-router') ? known(file, ['']) : []
      const data = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as {
        request?: { url: string }
        exchanges?: { request: { url: string } }[]
      }
      const urls = data.exchanges?.map(({ request }) => request.url) ?? [data.request?.url ?? '']
      return known(
        file,
        urls.filter((url) => PATH.test(url)),
      )
    })
}

function known(file: string, urls: string[]): Exchange[] {
  const mode: Mode = urls[0]?.includes('/embeddings') ? 'embedding' : 'chat'
  const found = urls.length === 0 ? [] : recordings('azure', file, mode)
  expect(found.length, file).toBe(urls.length)
  return found.map((recording, index) => ({ ...recording, url: urls[index] as string }))
}

const providers = createProviders()

/** Foundry's recordings are those of its route for all models. */
function providerFor({ url }: Exchange): Provider {
  return providers.get(url.includes('.services.ai.') ? 'azure_ai' : 'azure') as Provider
}

/** What an operator would configure to be sent where the recorded request went. */
function targetOf({ url, request }: Exchange): Target {
  const at = new URL(url)
  const deployment = /\/deployments\/([^/]+)\//.exec(at.pathname)?.[1]
  return {
    ...PLAIN_TARGET,
    provider: 'azure',
    model: deployment ?? String(request['model']),
    base: at.pathname.startsWith('/openai/v1/') ? `${at.origin}/openai/v1` : at.origin,
    apiVersion: deployment === undefined ? null : at.searchParams.get('api-version'),
  }
}

/** To Foundry a list of nothing but text goes as one string. */
function flat(message: { content?: unknown }): object {
  const parts = Array.isArray(message.content) ? (message.content as { type: string; text?: string }[]) : []
  if (parts.length === 0 || parts.some(({ type }) => type !== 'text')) return message
  return { ...message, content: parts.map(({ text }) => text).join('') }
}

function contextOf({ request }: Recording): DecodeContext {
  return { id: 'fixture', created: 1, model: 'asked', request }
}

function streamed(exchange: Exchange, pieces: Uint8Array[]) {
  const decoder = providerFor(exchange).chat?.decodeStream?.(contextOf(exchange))
  if (decoder === undefined) throw new Error('chats are not streamed')
  return decodePieces<ChatChunk>(decoder, pieces)
}

function passed(exchange: Exchange, pieces: Uint8Array[]): { text: string; stream: PassThroughStream } {
  const { decodeError } = providerFor(exchange)
  const stream = new PassThroughStream({ model: 'alias', includeUsage: false, choices: 1, readError: decodeError })
  const out = pieces.map((piece) => Buffer.from(stream.push(piece)))
  out.push(Buffer.from(stream.finish()), Buffer.from(stream.last()))
  return { text: Buffer.concat(out).toString(), stream }
}

describe.skipIf(!haveRecordings())('recorded calls of Azure', () => {
  const all = haveRecordings() ? exchanges() : []
  const named = (list: Exchange[]): [string, Exchange][] => list.map((one, at) => [`${one.file} (${at})`, one])
  const whole = all.filter(({ body, status }) => body !== null && status < 400)
  const streams = all.filter(({ stream }) => stream !== null)

  it('are of both providers and of every kind', () => {
    expect(new Set(all.map((one) => providerFor(one).name))).toEqual(new Set(['azure', 'azure_ai']))
    expect([whole.length, streams.length, all.length - whole.length - streams.length]).toEqual([22, 19, 2])
  })

  it.each(named(all.filter(({ url }) => url !== '')))('went where ours go, with the same body: %s', (_, exchange) => {
    const adapter = providerFor(exchange)[exchange.mode] as Adapter<object, unknown, unknown>
    const { url, body } = adapter.encodeRequest(exchange.request, targetOf(exchange))
    expect(url).toBe(exchange.url)
    const sent = JSON.parse(body as string) as Record<string, unknown>
    const { stream_options: asked, ...rest } = sent
    const { stream_options: recorded, ...expected } = exchange.request
    if (providerFor(exchange).name === 'azure_ai' && Array.isArray(expected['messages'])) {
      expected['messages'] = expected['messages'].map(flat)
    }
    expect(rest).toEqual(expected)
    // We ask for usage wherever the date of the API allows it, clients do not.
    const dated = url.includes('api-version=2024-02-01')
    expect(asked).toEqual(exchange.request['stream'] === true && !dated ? { include_usage: true } : recorded)
  })

  it.each(named(whole))('are read whole: %s', (_, exchange) => {
    const provider = providerFor(exchange)
    const body = Buffer.from(exchange.body as string)
    const said = JSON.parse(exchange.body as string) as ChatResponse
    if (exchange.mode === 'embedding') {
      const read = provider.embedding?.decodeResponse(body, {}, contextOf(exchange)) as EmbeddingResponse
      expect(read.data).toHaveLength(1)
      expect(read.usage.prompt_tokens).toBeGreaterThan(0)
      return
    }
    const read = provider.chat?.decodeResponse(body, {}, contextOf(exchange)) as ChatResponse
    expect(read.id).toBe(said.id)
    expect(read['prompt_filter_results']).toEqual(said['prompt_filter_results'])
    expect(read.usage).toMatchObject({
      prompt_tokens: said.usage?.prompt_tokens,
      completion_tokens: said.usage?.completion_tokens,
    })
    for (const [index, choice] of read.choices.entries()) {
      const original = said.choices[index]
      expect(choice.finish_reason).toBe(original?.finish_reason)
      // Where the filter took the answer away there is no message at all.
      expect(choice.message.content ?? '').toBe(original?.message?.content ?? '')
      // Grok numbers the calls of whole answers too, which OpenAI's clients do not know.
      const calls = original?.message?.tool_calls?.map((call) => ({ ...call, index: undefined }))
      expect(choice.message.tool_calls).toEqual(calls)
      expect(choice['content_filter_results']).toEqual(original?.['content_filter_results'])
    }
  })

  it.each(named(streams))('stream the same in any pieces, read or passed through: %s', (_, exchange) => {
    const bytes = Buffer.from(exchange.stream as string)
    const decoded = cuts(bytes, bytes.length).map((pieces) => streamed(exchange, pieces))
    expect(decoded.map(({ error }) => error)).toEqual([null, null, null])
    expect(decoded[1]?.chunks).toEqual(decoded[0]?.chunks)
    expect(decoded[2]?.chunks).toEqual(decoded[0]?.chunks)
    const chunks = decoded[0]?.chunks ?? []
    const events = [...(exchange.stream as string).matchAll(/^data: (\{.*)$/gm)].map(
      (found) => JSON.parse(found[1] as string) as ChatChunk,
    )
    const own = events.find(({ id }) => id !== '')
    expect(new Set(chunks.map(({ id }) => id))).toEqual(new Set([own?.id]))
    const verdicts = (list: readonly ChatChunk[]) =>
      list.map((one) => one['prompt_filter_results']).filter((one) => one !== undefined)
    expect(verdicts(chunks)).toEqual(verdicts(events).filter((one) => one !== null))
    expect(chunks.every(({ choices, usage }) => choices.length > 0 || usage != null)).toBe(true)

    const { choices, usage } = foldChunks(chunks)
    const content = [...choices.values()].map((choice) => choice.content).join('')
    for (const { finish, toolCalls } of choices.values()) {
      expect(finish).not.toBeNull()
      for (const call of toolCalls) expect(() => JSON.parse(call.function?.arguments ?? '') as unknown).not.toThrow()
    }
    if (events.some((event) => event.usage != null)) expect(usage?.prompt_tokens).toBeGreaterThan(0)

    const relayed = cuts(bytes, 7).map((pieces) => passed(exchange, pieces))
    expect(new Set(relayed.map(({ text }) => text)).size).toBe(1)
    const text = relayed[0]?.text as string
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
    const relayedEvents = [...text.matchAll(/^data: (\{.*)$/gm)].map((found) => JSON.parse(found[1] as string) as ChatChunk)
    expect(relayedEvents.map((event) => event.choices[0]?.delta.content ?? '').join('')).toBe(content)
    expect(verdicts(relayedEvents)).toEqual(verdicts(events))
  })

  it.each(named(streams))('are cut short when they end before the reason: %s', (_, exchange) => {
    const text = exchange.stream as string
    const reason = text.search(/"finish_reason": ?"/)
    const cut = Buffer.from(text.slice(0, text.lastIndexOf('data:', reason)))
    const before = streamed(exchange, [cut])
    expect(before.error?.code).toBe(before.chunks.length > 0 ? 'provider_truncated' : 'provider_malformed')
  })

  it('that failed are the error they are', () => {
    const failed = all.filter(({ status }) => status >= 400)
    const errors = failed.map((one): GatewayError => providerFor(one).decodeError(one.status, {}, one.body as string))
    expect(errors.map(({ code, message }) => [code, message.slice(0, 70)]).sort()).toEqual([
      ['provider_authentication', 'litellm.AuthenticationError: AuthenticationError: Azure_aiException - '],
      ['provider_bad_request', 'litellm.BadRequestError: AzureException - Invalid image (base64) data.'],
    ])
  })
})
