import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import { completionOverChat } from '../completion-from-chat.ts'
import { type Fields, isFields, jsonObject, text } from '../json.ts'
import { openai } from '../openai.ts'
import { promptOf } from '../prompt-text.ts'
import type { Adapter, DecodeContext, Provider, Target } from '../provider.ts'
import { type Said, textProvider } from '../text-protocol.ts'
import { generatedTexts, generatedToken } from '../tgi.ts'
import { embeddingAdapter } from './embedding.ts'
import { decodeError } from './errors.ts'
import { PartsStream } from './parts.ts'
import { endpointRequest } from './url.ts'

const AUTH: Provider['auth'] = { type: 'made', kind: 'aws-sagemaker' }

/** Endpoints of SageMaker whose container continues a text: Hugging Face's, and those of JumpStart that take its body. */
export function sagemaker(name: string, row: ProviderRow): Provider {
  const plain = textProvider(name, row, {
    request({ prompt, stream }, given, target) {
      const parameters = parametersOf(given)
      return endpointRequest(
        { inputs: prompt, ...(isEmpty(parameters) ? {} : { parameters }), ...(stream ? { stream } : {}) },
        target,
      )
    },
    answer: (answer, context) => said(answer).map((one) => ({ ...one, text: withoutPrompt(one.text, context, name) })),
    stream: { framing: 'sse', read: generatedToken },
  })
  return { ...inFrames(name, plain), embedding: embeddingAdapter(name, row) }
}

/** Endpoints whose container takes OpenAI's messages. */
export function sagemakerChat(name: string, row: ProviderRow): Provider {
  const { completion: _, ...plain } = openai(name, { ...row, modes: ['chat'] })
  const { chat } = plain
  if (chat === undefined) throw new Error('a row of SageMaker without chat')
  const encodeRequest = (request: ChatRequest, target: Target) =>
    endpointRequest(jsonObject(String(chat.encodeRequest(request, target).body), 'The request'), target)
  // Its bytes are in frames, which no client of OpenAI's reads.
  const { protocol: _none, ...own } = chat
  const framed = inFrames(name, { ...plain, chat: { ...own, encodeRequest } })
  return framed.chat === undefined ? framed : { ...framed, completion: completionOverChat(framed.chat) }
}

/** The provider whose streams come in AWS's frames, and whose errors are AWS's. */
function inFrames(name: string, provider: Provider): Provider {
  const { chat, completion } = provider
  return {
    ...provider,
    auth: AUTH,
    base: null,
    ...(chat === undefined ? {} : { chat: framed(name, chat) }),
    ...(completion === undefined ? {} : { completion: framed(name, completion) }),
    decodeError: (status, headers, body) => decodeError(name, status, headers, body),
  }
}

function framed<Request, Response, Chunk>(
  name: string,
  adapter: Adapter<Request, Response, Chunk>,
): Adapter<Request, Response, Chunk> {
  const { decodeStream } = adapter
  if (decodeStream === undefined) return adapter
  return { ...adapter, framing: 'aws', decodeStream: (context) => new PartsStream(name, decodeStream(context)) }
}

/** Of either kind of container: `generated_text`, or `generation` as text or as a message. */
function said(answer: unknown): Said[] {
  const found = generatedTexts(answer)
  if (found.length > 0) return found
  const one: unknown = Array.isArray(answer) ? answer[0] : answer
  const generation = isFields(one) ? one['generation'] : undefined
  if (typeof generation === 'string') return [{ text: generation }]
  return isFields(generation) ? [{ text: text(generation['content']) }] : []
}

/** Some containers repeat the prompt before their answer. */
function withoutPrompt(answer: string, { request }: DecodeContext, provider: string): string {
  const { messages } = request as Partial<ChatRequest>
  const prompt = Array.isArray(messages) ? promptOf(messages, { settings: {}, provider } as Target) : text(request['prompt'])
  return prompt !== '' && answer.startsWith(prompt) ? answer.slice(prompt.length) : answer
}

/** The server refuses zeros, and several answers without sampling. */
function parametersOf(given: Fields): Fields {
  const parameters = { ...given }
  if (parameters['temperature'] === 0) parameters['temperature'] = 0.01
  if (parameters['max_new_tokens'] === 0) parameters['max_new_tokens'] = 1
  if (parameters['best_of'] !== undefined) {
    parameters['do_sample'] ??= true
    parameters['details'] ??= true
  }
  return parameters
}

function isEmpty(fields: Fields): boolean {
  return Object.keys(fields).length === 0
}
