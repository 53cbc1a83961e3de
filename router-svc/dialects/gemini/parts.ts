import { GatewayError } from '../../../shared/errors.ts'
import { isObject } from '../../../shared/json-object.ts'
import type { ChatDelta, ResponseMessage, ThinkingBlock, ToolCall } from '../../canonical/chat.ts'
import { marked } from './signatures.ts'
import { type Fields, listOf, textOf } from './wire.ts'

/** Fields of a candidate that a provider of this protocol gave, and that go back into their places. */
const CANDIDATE = [
  'groundingMetadata',
  'urlContextMetadata',
  'citationMetadata',
  'safetyRatings',
  'avgLogprobs',
  'finishMessage',
  'groundingAttributions',
]

/** What a provider of this protocol said beyond the canonical fields; empty for others. */
export function keptFields(message: ChatDelta | ResponseMessage): Fields {
  return isObject(message.provider_specific_fields) ? message.provider_specific_fields : {}
}

/** The candidate's fields among them. */
export function candidateFields(kept: Readonly<Fields>): Fields {
  const fields: Fields = {}
  for (const name of CANDIDATE) if (kept[name] !== undefined) fields[name] = kept[name]
  return fields
}

/**
 * What is no call of a message or a piece of one, in the order of the protocol: thoughts, what the provider ran, text, media. `told`: the words of
 * a signed thought are out already, only its signature is missing.
 */
export function partsOf(message: ChatDelta | ResponseMessage, told = false): Fields[] {
  const kept = keptFields(message)
  const own = listOf(kept['parts'])
  const parts: Fields[] = []
  const reasoning = textOf(message.reasoning_content)
  if (own.some((part) => part['thought'] === true)) {
    const words = own.reduce(
      (left, part) => (part['thought'] === true ? left.replace(textOf(part['text']), () => '') : left),
      reasoning,
    )
    if (words !== '') parts.push({ text: words, thought: true })
  } else {
    const blocks = signedParts(message.thinking_blocks ?? [], told)
    if (reasoning !== '' && (told || blocks.length === 0)) parts.push({ text: reasoning, thought: true })
    parts.push(...blocks)
  }
  parts.push(...own)
  const words = textOf(message.content) || textOf(message.refusal)
  const signatures = kept['thought_signatures']
  const signature = Array.isArray(signatures) ? textOf(signatures.at(-1)) : ''
  const signed = signature === '' ? {} : { thoughtSignature: signature }
  if (words !== '') parts.push({ text: words, ...signed })
  const media = [...images(message['images']), ...sound(message['audio'])]
  const last = media.at(-1)
  if (signature !== '' && words === '') {
    if (last === undefined) parts.push({ text: '', ...signed })
    else Object.assign(last, signed)
  }
  return [...parts, ...media]
}

function signedParts(blocks: readonly ThinkingBlock[], told: boolean): Fields[] {
  return blocks.flatMap(({ thinking, signature }) =>
    signature === undefined || signature === ''
      ? []
      : [{ text: told ? '' : (thinking ?? ''), thought: true, thoughtSignature: marked(signature) }],
  )
}

function images(list: unknown): Fields[] {
  return listOf(list).flatMap((image) => {
    const url = isObject(image['imageUrl']) ? textOf(image['imageUrl']['url']) : ''
    const match = /^data:([^;,]+)(?:;[^,]*)?;base64,/.exec(url)
    return match === null ? [] : [{ inlineData: { mimeType: match[1], data: url.slice(match[0].length) } }]
  })
}

function sound(audio: unknown): Fields[] {
  if (!isObject(audio) || textOf(audio['data']) === '') return []
  const format = textOf(audio['format'])
  return [{ inlineData: { mimeType: format === '' ? 'audio/wav' : `audio/${format}`, data: audio['data'] } }]
}

/** A whole call. `cut`: the output limit ended the answer. Throws GatewayError `provider_malformed` when its arguments are no JSON object. */
export function callPart({ id, function: named, custom, ...rest }: ToolCall, cut: boolean): Fields {
  const identity = textOf(id) === '' ? {} : { id }
  if (custom !== undefined) return { functionCall: { ...identity, name: custom.name, args: { input: custom.input } } }
  const part: Fields = { functionCall: { ...identity, name: named?.name ?? '', args: argumentsOf(named?.arguments ?? '', cut) } }
  const fields = rest['provider_specific_fields']
  const signature = isObject(fields) ? textOf(fields['thought_signature']) : ''
  if (signature !== '') part['thoughtSignature'] = signature
  return part
}

function argumentsOf(text: string, cut: boolean): Readonly<Fields> {
  if (text.trim() === '') return {}
  let args: unknown
  try {
    args = JSON.parse(text)
  } catch (cause) {
    if (cut) return {}
    throw new GatewayError('provider_malformed', 'The arguments of a tool call are not valid JSON.', { cause })
  }
  if (isObject(args)) return args
  if (args === null || cut) return {}
  throw new GatewayError('provider_malformed', 'The arguments of a tool call are not a JSON object.')
}

/** OpenAI's log probabilities as Google's; null when there are none. */
export function logprobsOf(logprobs: unknown): Fields | null {
  if (!isObject(logprobs) || !Array.isArray(logprobs['content'])) return null
  const content = logprobs['content'].filter(isObject)
  const candidate = ({ token, logprob }: Readonly<Fields>): Fields => ({ token, logProbability: logprob })
  const result: Fields = { chosenCandidates: content.map(candidate) }
  const top = content.map((one) => (Array.isArray(one['top_logprobs']) ? one['top_logprobs'].filter(isObject) : []))
  if (top.some((list) => list.length > 0)) result['topCandidates'] = top.map((list) => ({ candidates: list.map(candidate) }))
  return result
}
