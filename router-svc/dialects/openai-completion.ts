import { type GatewayError, openaiErrorBody } from '../../shared/errors.ts'
import { sseEvent } from '../../shared/http/sse.ts'
import type { Usage } from '../canonical/chat.ts'
import type { CompletionChunk, CompletionRequest, CompletionResponse } from '../canonical/completion.ts'
import type { Dialect, StreamEncoder, StreamOptions } from './dialect.ts'
import { checkFields, checkModel, invalid, isStrings, type Kind } from './request-fields.ts'

/** OpenAI's legacy text completions, as clients speak them. */
export const openaiCompletion: Dialect<CompletionRequest, CompletionResponse, CompletionChunk> = {
  name: 'openai-completion',
  mode: 'completion',
  protocol: 'openai-completion',
  streamType: 'text/event-stream',
  decodeRequest,
  encodeResponse: (response, model) => JSON.stringify({ ...response, model }),
  encodeStream: (options) => new CompletionStreamEncoder(options),
  encodeError: (error) => JSON.stringify(openaiErrorBody(error)),
}

const FIELDS: readonly (readonly [string, Kind])[] = [
  ['stream', 'boolean'],
  ['stream_options', 'object'],
  ['max_tokens', 'integer'],
  ['temperature', 'number'],
  ['top_p', 'number'],
  ['frequency_penalty', 'number'],
  ['presence_penalty', 'number'],
  ['n', 'positive integer'],
  ['best_of', 'positive integer'],
  ['stop', 'string or list of strings'],
  ['seed', 'integer'],
  ['logprobs', 'integer'],
  ['logit_bias', 'object'],
  ['echo', 'boolean'],
  ['suffix', 'string'],
  ['user', 'string'],
  ['metadata', 'object'],
]

function decodeRequest(body: Record<string, unknown>): CompletionRequest {
  checkModel(body)
  checkText(body['prompt'], 'prompt')
  checkFields(body, FIELDS)
  return body as CompletionRequest
}

/** A text, a list of texts, a list of tokens or a list of those; also what embeddings take. Throws GatewayError `bad_request`. */
export function checkText(value: unknown, place: string): void {
  const expected = 'string, list of strings, list of tokens or list of token lists'
  if (typeof value === 'string' || (isStrings(value) && value.length > 0)) return
  if (!Array.isArray(value) || value.length === 0) throw invalid(place, expected, value)
  const nested = Array.isArray(value[0])
  for (let index = 0; index < value.length; index++) {
    const item: unknown = value[index]
    if (nested ? isTokens(item) : Number.isInteger(item)) continue
    throw invalid(`${place}[${index}]`, nested ? 'list of tokens' : 'token or string like its neighbours', item)
  }
}

function isTokens(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every(Number.isInteger)
}

/** Pieces of text as they come; usage, when asked for, in one last chunk before `[DONE]`. */
class CompletionStreamEncoder implements StreamEncoder<CompletionChunk> {
  readonly #model: string
  readonly #includeUsage: boolean
  #usage: Usage | null = null
  #last: CompletionChunk | null = null

  constructor(options: StreamOptions) {
    this.#model = options.model
    this.#includeUsage = options.includeUsage
  }

  push(chunk: CompletionChunk): string {
    const { usage, choices, ...envelope } = chunk
    if (usage !== undefined && usage !== null) this.#usage = usage
    this.#last = chunk
    const said = choices.filter((choice) => choice.text !== '' || choice.finish_reason !== null)
    return said.length === 0 ? '' : sseEvent(JSON.stringify({ ...envelope, model: this.#model, choices: said }))
  }

  end(): string {
    const done = sseEvent('[DONE]')
    if (!this.#includeUsage || this.#usage === null || this.#last === null) return done
    const { choices: _choices, usage: _usage, ...envelope } = this.#last
    return sseEvent(JSON.stringify({ ...envelope, model: this.#model, choices: [], usage: this.#usage })) + done
  }

  error(error: GatewayError): string {
    return sseEvent(JSON.stringify(openaiErrorBody(error)))
  }
}
