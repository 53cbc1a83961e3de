import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { type Fields, isFields, jsonObject, text } from './json.ts'
import type { Provider, Target } from './provider.ts'
import { postJson, type Said, type TextProtocol, textProvider } from './text-protocol.ts'
import { listOfVectors, rowsOf, vectorAdapter } from './vector-protocol.ts'

/** Its models generate nothing unless told how much. */
const MAX_TOKENS = 20

/**
 * NVIDIA's Triton. The base is the whole address, and how it ends says which protocol is meant: `/generate` (texts) or `/infer` (tensors,
 * KServe v2); any other base is a server's, whose models generate.
 */
export function triton(name: string, row: ProviderRow): Provider {
  const generate = textProvider(name, row, GENERATE)
  const infer = textProvider(name, row, INFER)
  const provider: Provider = {
    ...generate,
    embedding: vectorAdapter(
      name,
      {
        unsupported: ['dimensions'],
        request: (texts, given, target) =>
          postJson(inferAddress(target), {
            inputs: [
              tensor('input_text', 'BYTES', texts),
              ...Object.entries(given).flatMap(([field, value]) => parameterTensor(field, value)),
            ],
          }),
        vectors(answer) {
          const [output] = outputsOf(answer)
          const shape: unknown = output?.['shape']
          const rows = Array.isArray(shape) && typeof shape[0] === 'number' ? shape[0] : 1
          return { vectors: listOfVectors(rowsOf(output?.['data'], rows)) }
        },
      },
      generate.decodeError,
    ),
  }
  const tensors: Provider = { ...provider, ...textModes(infer) }
  return { ...provider, serve: (model, { apiBase }) => ({ provider: apiBase?.endsWith('/infer') ? tensors : null, model }) }
}

function textModes({ chat, completion }: Provider): Pick<Provider, 'chat' | 'completion'> {
  return { ...(chat === undefined ? {} : { chat }), ...(completion === undefined ? {} : { completion }) }
}

function answerOf(answer: unknown): Said[] {
  if (!isFields(answer)) return []
  const { text_output: generated } = answer
  if (typeof generated === 'string') return [{ text: generated }]
  const outputs = outputsOf(answer)
  const output =
    outputs.find(({ name }) => name === 'text_output') ?? outputs.find(({ datatype }) => datatype === 'BYTES') ?? outputs[0]
  return Array.isArray(output?.['data']) ? [{ text: output['data'].map((piece) => String(piece)).join('') }] : []
}

const GENERATE: TextProtocol = {
  request({ prompt, stream }, { stop, ...given }, target) {
    const parameters = { ...(stop === undefined ? {} : { stop_words: stop }), ...given }
    return postJson(`${generateAddress(target)}${stream ? '_stream' : ''}`, { text_input: prompt, parameters, stream })
  },
  answer: answerOf,
  stream: {
    framing: 'sse',
    untilEnd: true,
    read: (data) => ({ text: text(jsonObject(data, 'An event of the stream')['text_output']) }),
  },
}

/** Whole answers only. */
const INFER: TextProtocol = {
  request({ prompt }, given, target) {
    const { max_tokens: limit = MAX_TOKENS, stop, ...others } = given
    const inputs = [tensor('text_input', 'BYTES', [prompt]), tensor('max_tokens', 'INT32', [limit])]
    if (Array.isArray(stop)) inputs.push(tensor('stop_words', 'BYTES', stop))
    for (const [field, value] of Object.entries(others)) inputs.push(...parameterTensor(field, value))
    return postJson(target.base, { inputs })
  },
  answer: answerOf,
}

function generateAddress({ base, model }: Target): string {
  return base.endsWith('/generate') ? base : `${base}/v2/models/${encodeURIComponent(model)}/generate`
}

function inferAddress({ base, model }: Target): string {
  return /\/(infer|embeddings)$/.test(base) ? base : `${base}/v2/models/${encodeURIComponent(model)}/infer`
}

function tensor(name: string, datatype: string, data: unknown[]): Fields {
  return { name, shape: [data.length], datatype, data }
}

/** A parameter as a tensor of one; none for what is no single value. */
function parameterTensor(name: string, value: unknown): Fields[] {
  if (typeof value === 'number') return [tensor(name, Number.isInteger(value) && !REAL.has(name) ? 'INT32' : 'FP32', [value])]
  if (typeof value === 'boolean') return [tensor(name, 'BOOL', [value])]
  return typeof value === 'string' ? [tensor(name, 'BYTES', [value])] : []
}

/** Of these a whole number is a real one all the same. */
const REAL = new Set(['temperature', 'top_p', 'frequency_penalty', 'presence_penalty', 'repetition_penalty'])

function outputsOf(answer: Fields): Fields[] {
  return Array.isArray(answer['outputs']) ? (answer['outputs'] as unknown[]).filter(isFields) : []
}
