import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { SseEvent } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatRequest, ChatResponse, Message } from '../../canonical/chat.ts'
import { get, objectIn } from '../images/answers.ts'
import { type Fields, isFields, parsedInput, text } from '../json.ts'
import { promptOf, textOf } from '../prompt-text.ts'
import type { Adapter, Conversation, DecodeContext, StreamDecoder, Target, UpstreamAnswer } from '../provider.ts'
import { type Said, textProvider, usageFrom } from '../text-protocol.ts'
import { addressOf, createPrediction, failed, replicateError, statusOf } from './prediction.ts'

type ChatAdapter = Adapter<ChatRequest, ChatResponse, ChatChunk>

/** Milliseconds between two questions for a prediction; a stream that is made of one is waited for by its client. */
const EVERY = 1000

interface Maker {
  /** Their name for instructions; null = they have none. */
  system: string | null
  /** For the most they may answer. */
  limit: string
  /** For what they are shown; most take one. */
  images: string
  several?: true
}

/** What models call what, by whose they are. First match counts. */
const MAKERS: readonly (readonly [RegExp, Maker])[] = [
  [/^google\//, { system: 'system_instruction', limit: 'max_output_tokens', images: 'images', several: true }],
  [/^openai\//, { system: 'system_prompt', limit: 'max_completion_tokens', images: 'image_input', several: true }],
  [/^(?:anthropic|ibm-granite)\//, { system: 'system_prompt', limit: 'max_tokens', images: 'image' }],
  [/^(?:deepseek-ai|moonshotai|xai|qwen)\//, { system: null, limit: 'max_tokens', images: 'image' }],
  [/^(?:meta|snowflake)\//, { system: 'system_prompt', limit: 'max_new_tokens', images: 'image' }],
]
const UNKNOWN: Maker = { system: null, limit: 'max_new_tokens', images: 'image' }

/** Chats are predictions of one prompt. A stream is told at an address of its own, or made of the whole answer where there is none. */
export function replicateChat(name: string, row: ProviderRow): ChatAdapter {
  const plain = textProvider(name, row, {
    textOnly: false,
    request: ({ messages, stream }, given, target) => createPrediction(inputOf(messages, given, target), target, stream),
    answer: (answer) => [saidIn(name, answer)],
    // A prediction tells of failure by its status.
    isError: () => false,
  }).chat as ChatAdapter
  return {
    mode: 'chat',
    encodeRequest: plain.encodeRequest,
    decodeResponse: plain.decodeResponse,
    decodeStream: (context) => new PredictionStream(name, context),
    converse: (request, target, context) => predicting(plain, request, target, context),
  }
}

function inputOf(asked: readonly Message[], given: Fields, target: Target): Fields {
  const { messages, images } = withoutImages(asked)
  const {
    supports_system_prompt: supports = target.settings['supports_system_prompt'],
    stop,
    max_tokens: most,
    ...fields
  } = given
  const maker = MAKERS.find(([pattern]) => pattern.test(target.model))?.[1] ?? UNKNOWN
  const system = supports === true ? (maker.system ?? 'system_prompt') : supports === false ? null : maker.system
  const input: Fields = {}
  // A deployment that says how its model wants a conversation means all of it.
  const apart = system !== null && !(isFields(target.settings['roles']) && supports !== true)
  const instructs = ({ role }: Message) => role === 'system' || role === 'developer'
  input['prompt'] = promptOf(apart ? messages.filter((message) => !instructs(message)) : messages, target)
  const instructions = apart
    ? messages.flatMap((message, at) => (instructs(message) ? [textOf(message, at, target.provider)] : []))
    : []
  if (apart && instructions.length > 0) input[system] = instructions.join('\n\n')
  if (most !== undefined) input[maker.limit] = most
  if (Array.isArray(stop)) input['stop_sequences'] = stop.join(',')
  return { ...input, ...shown(images, maker, target), ...fields }
}

/** Words and pictures apart: the prompt is a text. */
function withoutImages(asked: readonly Message[]): { messages: Message[]; images: string[] } {
  const images: string[] = []
  const messages = asked.map((message) => {
    if (!Array.isArray(message.content)) return message
    const content = message.content.filter((part) => {
      const image = part.type === 'image_url' ? part['image_url'] : undefined
      const url = isFields(image) ? image['url'] : image
      if (typeof url === 'string') images.push(url)
      return typeof url !== 'string'
    })
    return { ...message, content }
  })
  return { messages, images }
}

/** Throws `bad_request` for more images than the model takes. */
function shown(images: readonly string[], { images: name, several }: Maker, { model }: Target): Fields {
  if (images.length === 0) return {}
  if (several) return { [name]: images }
  if (images.length === 1) return { [name]: images[0] }
  throw new GatewayError(
    'bad_request',
    `litellm.BadRequestError: ${model} on Replicate is shown one image, not ${images.length}.`,
    {
      param: 'messages',
    },
  )
}

/** Throws what a prediction that ended otherwise tells of. */
function saidIn(name: string, answer: unknown): Said {
  if (!isFields(answer)) throw new GatewayError('provider_malformed', 'The answer is not a JSON object.')
  const status = statusOf(answer)
  if (status === 'over') throw failed(name, answer)
  if (status === null) throw replicateError(name, 200, {}, JSON.stringify(answer))
  if (status !== 'succeeded') throw new GatewayError('provider_malformed', 'The prediction is not done.')
  const { output, metrics } = answer
  const counts = isFields(metrics) ? metrics : {}
  return {
    text: outputText(output),
    usage: usageFrom(counts['input_token_count'], counts['output_token_count']),
    ...(metrics === undefined ? {} : { fields: { metrics } }),
  }
}

/** Tokens as a list, or the whole. */
function outputText(output: unknown): string {
  if (typeof output === 'string') return output
  if (Array.isArray(output) && output.every((part) => typeof part === 'string')) return output.join('')
  if (output === null || output === undefined) return ''
  return JSON.stringify(output)
}

function* predicting(
  plain: ChatAdapter,
  request: ChatRequest,
  target: Target,
  context: DecodeContext,
): Conversation<ChatResponse> {
  const [created] = yield { send: [plain.encodeRequest(request, target)] }
  let answer = created as UpstreamAnswer
  let prediction = objectIn(answer)
  const stream = request.stream === true ? addressOf(prediction, 'stream') : null
  if (stream !== null && statusOf(prediction) !== 'over')
    return { last: { ...get(stream), headers: { accept: 'text/event-stream', 'cache-control': 'no-store' } } }
  const address = addressOf(prediction, 'get')
  while (statusOf(prediction) === 'running' && address !== null) {
    const [next] = yield { send: [get(address)], after: EVERY }
    answer = next as UpstreamAnswer
    prediction = objectIn(answer)
  }
  return plain.decodeResponse(answer.body, answer.headers, context)
}

/** Events `output` (text as it is), `logs`, `error`, `done`. States: open → done by `done`. */
class PredictionStream implements StreamDecoder<ChatChunk> {
  readonly #provider: string
  readonly #context: DecodeContext
  #begun = false
  done = false

  constructor(provider: string, context: DecodeContext) {
    this.#provider = provider
    this.#context = context
  }

  push({ event, data }: SseEvent): ChatChunk[] {
    if (this.done) return []
    if (event === 'error') throw replicateError(this.#provider, 200, {}, errorBody(data))
    if (event === 'output') return data === '' ? [] : [this.#chunk({ content: data }, null)]
    if (event !== 'done') return []
    const reason = reasonIn(data)
    if (reason !== '') throw failed(this.#provider, { status: reason === 'error' ? 'failed' : reason })
    this.done = true
    return [this.#chunk({}, 'stop')]
  }

  end(): ChatChunk[] {
    if (!this.done) throw new GatewayError('provider_truncated')
    return []
  }

  #chunk(delta: Fields, finish: 'stop' | null): ChatChunk {
    const { id, created, model } = this.#context
    const first = this.#begun ? {} : { role: 'assistant' as const }
    this.#begun = true
    return {
      id,
      object: 'chat.completion.chunk',
      created,
      model,
      choices: [{ index: 0, delta: { ...first, ...delta }, finish_reason: finish }],
    }
  }
}

/** JSON with a `detail`, or bare words. */
function errorBody(data: string): string {
  return isFields(parsedInput(data)) ? data : JSON.stringify({ detail: data === '' ? 'The prediction failed' : data })
}

function reasonIn(data: string): string {
  const parsed = parsedInput(data)
  return isFields(parsed) ? text(parsed['reason']) : ''
}
