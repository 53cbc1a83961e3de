import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatDelta, FinishReason, ToolCallDelta } from '../../canonical/chat.ts'
import { annotations } from './grounding.ts'
import { addArguments, type PartialCall } from './partial-call.ts'
import { type Fields, isFields, objects, type Part, text } from './wire.ts'

/** What whole answers and streams read the same way: the parts of one candidate, as they come, become deltas of one choice. */

const FINISH: Readonly<Record<string, FinishReason>> = {
  STOP: 'stop',
  MAX_TOKENS: 'length',
  SAFETY: 'content_filter',
  RECITATION: 'content_filter',
  BLOCKLIST: 'content_filter',
  PROHIBITED_CONTENT: 'content_filter',
  SPII: 'content_filter',
  MODEL_ARMOR: 'content_filter',
  IMAGE_SAFETY: 'content_filter',
  IMAGE_PROHIBITED_CONTENT: 'content_filter',
  IMAGE_RECITATION: 'content_filter',
}

/** Fields of a candidate that have a place of their own in the canonical answer. */
const PLACED = new Set(['index', 'content', 'finishReason', 'logprobsResult', 'tokenCount'])

/** Finish reasons the canonical one says everything about. */
const PLAIN_FINISH = new Set(['STOP', 'MAX_TOKENS'])

/** Fields of an answer beside its candidates under LiteLLM's names; each is a list with one entry for a candidate that has it. */
const NAMED: Readonly<Record<string, string>> = {
  groundingMetadata: 'vertex_ai_grounding_metadata',
  urlContextMetadata: 'vertex_ai_url_context_metadata',
  safetyRatings: 'vertex_ai_safety_results',
  citationMetadata: 'vertex_ai_citation_metadata',
}

export class Choice {
  readonly index: number
  readonly #id: string
  #content = ''
  #calls = 0
  #images = 0
  #logprobs: Fields[] = []
  #open: PartialCall | null = null
  /** Last value of every field seen beside the parts. */
  readonly #candidate: Fields = {}

  constructor(index: number, id: string) {
    this.index = index
    this.#id = id
  }

  /** Reads a candidate, whole or a piece: one delta a part. */
  read(candidate: Fields): ChatDelta[] {
    for (const [field, value] of Object.entries(candidate)) {
      if (value !== null && field !== 'content') this.#candidate[field] = value
    }
    this.#logprobs.push(...logprobs(candidate['logprobsResult']))
    const content = candidate['content']
    const deltas = isFields(content) ? objects(content['parts']).flatMap((part) => this.#part(part)) : []
    // A call that was cut off is told as far as it came.
    return candidate['finishReason'] === undefined ? deltas : [...deltas, ...this.#close()]
  }

  get finished(): boolean {
    return text(this.#candidate['finishReason']) !== ''
  }

  /** An unknown reason reads as `stop`, and stands in the message's fields. Calls are a reason of their own. */
  get finishReason(): FinishReason {
    const reason = entryOf(FINISH, text(this.#candidate['finishReason'])) ?? 'stop'
    return reason === 'stop' && this.#calls > 0 ? 'tool_calls' : reason
  }

  /** What is only known at the end: citations, and the candidate's own fields. Null when there is nothing. */
  rest(): ChatDelta | null {
    const delta: ChatDelta = {}
    const found = annotations(this.#candidate['groundingMetadata'], this.#content)
    if (found.length > 0) delta['annotations'] = found
    const fields: Fields = {}
    for (const [field, value] of Object.entries(this.#candidate)) if (!PLACED.has(field)) fields[field] = value
    const reason = text(this.#candidate['finishReason'])
    if (reason !== '' && !PLAIN_FINISH.has(reason)) fields['finishReason'] = reason
    if (Object.keys(fields).length > 0) delta.provider_specific_fields = fields
    return Object.keys(delta).length === 0 ? null : delta
  }

  /** OpenAI's form, or null. */
  get logprobs(): Fields | null {
    return this.#logprobs.length === 0 ? null : { content: this.#logprobs }
  }

  get candidate(): Readonly<Fields> {
    return this.#candidate
  }

  #part(part: Part): ChatDelta[] {
    const signature = text(part['thoughtSignature'])
    if (part['thought'] === true) return thought(part, signature)
    if (typeof part['text'] === 'string') {
      const delta: ChatDelta = {}
      if (part['text'] !== '') delta.content = part['text']
      if (signature !== '') delta.provider_specific_fields = { thought_signatures: [signature] }
      this.#content += part['text']
      return Object.keys(delta).length === 0 ? [] : [delta]
    }
    if (isFields(part['functionCall'])) return this.#piece(part['functionCall'], signature)
    if (isFields(part['inlineData'])) return [this.#media(part['inlineData'], part, signature)]
    return Object.keys(part).length === 0 ? [] : [{ provider_specific_fields: { parts: [part] } }]
  }

  /** A call, or a piece of one: it is told when it is whole. */
  #piece(piece: Fields, signature: string): ChatDelta[] {
    const named = text(piece['name']) !== ''
    if (named && piece['willContinue'] !== true && piece['partialArgs'] === undefined) {
      return [...this.#close(), { tool_calls: [this.#call(piece, signature)] }]
    }
    const closed = named ? this.#close() : []
    if (named) this.#open = { call: piece, args: isFields(piece['args']) ? { ...piece['args'] } : {}, signature }
    if (this.#open === null) return closed
    addArguments(this.#open.args, piece)
    return piece['willContinue'] === true ? closed : [...closed, ...this.#close()]
  }

  #close(): ChatDelta[] {
    if (this.#open === null) return []
    const { call, args, signature } = this.#open
    this.#open = null
    return [{ tool_calls: [this.#call({ ...call, args }, signature)] }]
  }

  #call(call: Fields, signature: string): ToolCallDelta {
    const index = this.#calls
    this.#calls += 1
    const made: ToolCallDelta = {
      index,
      // Older models name their calls nothing.
      id: text(call['id']) || `call_${this.#id.replace(/^chatcmpl-/, '')}_${this.index}_${index}`,
      type: 'function',
      function: { name: text(call['name']), arguments: JSON.stringify(call['args'] ?? {}) },
    }
    if (signature !== '') made['provider_specific_fields'] = { thought_signature: signature }
    return made
  }

  #media(data: Fields, part: Part, signature: string): ChatDelta {
    const type = text(data['mimeType'])
    const signed = signature === '' ? {} : { provider_specific_fields: { thought_signatures: [signature] } }
    if (type.startsWith('image/')) {
      const index = this.#images
      this.#images += 1
      const url = `data:${type};base64,${text(data['data'])}`
      return { images: [{ type: 'image_url', index, image_url: { url, detail: 'auto' } }], ...signed }
    }
    if (type.startsWith('audio/')) {
      return {
        audio: { id: `audio_${this.#id}_${this.index}`, data: text(data['data']), expires_at: 0, transcript: '' },
        ...signed,
      }
    }
    return { provider_specific_fields: { parts: [part] } }
  }
}

/** A signed thought goes back whole (messages.ts); the words alone are for reading. */
function thought(part: Part, signature: string): ChatDelta[] {
  const words = text(part['text'])
  if (signature === '') return words === '' ? [] : [{ reasoning_content: words }]
  return [
    {
      ...(words === '' ? {} : { reasoning_content: words }),
      thinking_blocks: [{ type: 'thinking', thinking: words, signature }],
      provider_specific_fields: { parts: [part] },
    },
  ]
}

function logprobs(result: unknown): Fields[] {
  if (!isFields(result)) return []
  const top = objects(result['topCandidates'])
  return objects(result['chosenCandidates']).map((chosen, index) => ({
    ...logprob(chosen),
    top_logprobs: objects(top[index]?.['candidates']).map(logprob),
  }))
}

function logprob(candidate: Fields): Fields {
  const token = text(candidate['token'])
  return { token, logprob: candidate['logProbability'] ?? 0, bytes: [...Buffer.from(token, 'utf8')] }
}

/** What stands beside the choices of an answer, under LiteLLM's names. */
export function answerFields(choices: Iterable<Choice>): Fields {
  const fields: Record<string, unknown[]> = {}
  for (const { candidate } of choices) {
    for (const [field, name] of Object.entries(NAMED)) {
      if (candidate[field] === undefined) continue
      fields[name] ??= []
      fields[name].push(candidate[field])
    }
  }
  return fields
}

/** A prompt the service would not answer: no candidates, but a reason. */
export function blockReason(payload: Fields): string {
  const feedback = payload['promptFeedback']
  return isFields(feedback) ? text(feedback['blockReason']) : ''
}

export function malformed(problem: string): GatewayError {
  return new GatewayError('provider_malformed', problem)
}
