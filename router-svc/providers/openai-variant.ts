import type { Mode } from '../../proto/endpoints.ts'
import { ERRORS, type ErrorCode } from '../../proto/errors.ts'
import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { type ErrorDetails, GatewayError } from '../../shared/errors.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../canonical/chat.ts'
import type { CompletionChunk, CompletionRequest, CompletionResponse } from '../canonical/completion.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../canonical/embedding.ts'
import { exceptionName } from './error-status.ts'
import { type Fields, sourceOf } from './json.ts'
import { requestEncoder } from './openai/request.ts'
import { decodeChat, decodeCompletion, decodeEmbedding, type ErrorReader } from './openai/response.ts'
import { chatStream, completionStream } from './openai/stream.ts'
import type { Adapter, CredentialKind, Provider, StreamDecoder, Target, UpstreamRequest } from './provider.ts'
import { wrappedStream } from './wrapped-stream.ts'

/** What a service that borrows OpenAI's forms does its own way. */
export interface Variant {
  row: ProviderRow
  /** The absolute address of a request. */
  url(target: Target, mode: Mode, request: Readonly<Fields>): string
  /** Last changes to the body, in place; its members belong to the canonical request, which stays as it is. */
  refine?(body: Fields, target: Target, mode: Mode, request: Readonly<Fields>): void
  readError: ErrorReader
  /** The error that a whole answer or an event of a stream is, where it is one in another form than OpenAI's. */
  errorIn?(source: string): GatewayError | null
}

type ChatAdapter = Adapter<ChatRequest, ChatResponse, ChatChunk>
type CompletionAdapter = Adapter<CompletionRequest, CompletionResponse, CompletionChunk>
type EmbeddingAdapter = Adapter<EmbeddingRequest, EmbeddingResponse, never>

export function chatVariant(variant: Variant): ChatAdapter {
  const { row, readError } = variant
  return {
    mode: 'chat',
    encodeRequest: encoderOf(variant, 'chat'),
    decodeResponse(body, headers, context) {
      throwErrorIn(variant, body)
      return decodeChat(body, headers, context, row, readError)
    },
    decodeStream: (context) => checked(variant, chatStream(context, row, readError)),
  }
}

export function completionVariant(variant: Variant): CompletionAdapter {
  const { row, readError } = variant
  return {
    mode: 'completion',
    encodeRequest: encoderOf(variant, 'completion'),
    decodeResponse(body, headers, context) {
      throwErrorIn(variant, body)
      return decodeCompletion(body, headers, context, row, readError)
    },
    decodeStream: (context) => checked(variant, completionStream(context, row, readError)),
  }
}

export function embeddingVariant(variant: Variant): EmbeddingAdapter {
  const { row, readError } = variant
  return {
    mode: 'embedding',
    encodeRequest: encoderOf(variant, 'embedding'),
    decodeResponse(body, headers, context) {
      throwErrorIn(variant, body)
      return decodeEmbedding(body, headers, context, row, readError)
    },
  }
}

/** What every provider of a row with a credential of its own says of itself. */
export function madeProvider(
  name: string,
  row: ProviderRow,
  kind: CredentialKind,
  decodeError: Provider['decodeError'],
): Pick<Provider, 'name' | 'auth' | 'base' | 'keyNames' | 'baseNames' | 'versionNames' | 'decodeError'> {
  return {
    name,
    auth: { type: 'made', kind },
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    ...(row.versions === undefined ? {} : { versionNames: row.versions }),
    decodeError,
  }
}

/** The same failure under another code: its text keeps LiteLLM's grammar, what the provider said is kept. */
export function reclassified(error: GatewayError, provider: string, code: ErrorCode): GatewayError {
  if (error.code === code) return error
  const row = ERRORS[code]
  const grammar = `${exceptionName(provider)} - `
  const at = error.message.indexOf(grammar)
  const said = at < 0 ? error.message : error.message.slice(at + grammar.length)
  const details: ErrorDetails = {}
  if (error.retryAfter !== undefined) details.retryAfter = error.retryAfter
  if (error.providerCode !== undefined) details.providerCode = error.providerCode
  const label = row.class === 'BadRequestError' ? '' : `${row.class}: `
  return new GatewayError(code, `litellm.${row.class}: ${label}${grammar}${said}`, details)
}

function throwErrorIn({ errorIn }: Variant, body: Uint8Array): void {
  const error = errorIn?.(sourceOf(body)) ?? null
  if (error !== null) throw error
}

function checked<Chunk>({ errorIn }: Variant, inner: StreamDecoder<Chunk>): StreamDecoder<Chunk> {
  if (errorIn === undefined) return inner
  return wrappedStream(
    inner,
    (chunks) => chunks,
    (event) => {
      const error = errorIn(event.data)
      if (error !== null) throw error
      return event
    },
  )
}

function encoderOf({ row, url, refine }: Variant, mode: Mode) {
  const encoder = requestEncoder(mode, row)
  const refused = row.unsupported ?? []
  return (given: Readonly<Fields>, target: Target): UpstreamRequest => {
    const request = withoutDefaults(given, refused)
    const body = encoder.shape(request, target)
    refine?.(body, target, mode, request)
    const { headers } = encoder.wrap(target, '')
    return { method: 'POST', url: url(target, mode, request), headers, body: JSON.stringify(body) }
  }
}

/** Values of parameters that ask for what happens anyway, so that nobody is refused for saying them. */
const DEFAULTS: Readonly<Fields> = { parallel_tool_calls: true, n: 1, logprobs: false, frequency_penalty: 0, presence_penalty: 0 }

function withoutDefaults(request: Readonly<Fields>, refused: readonly string[]): Readonly<Fields> {
  const kept: Fields = { ...request }
  for (const rule of refused) {
    const name = rule.replace(/[=.>].*$/, '')
    if (Object.hasOwn(DEFAULTS, name) && kept[name] === DEFAULTS[name]) delete kept[name]
  }
  return kept
}
