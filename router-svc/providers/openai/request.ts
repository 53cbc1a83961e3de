import type { Mode } from '../../../proto/endpoints.ts'
import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { entryOf } from '../../../shared/entry.ts'
import type { Message, Tool } from '../../canonical/chat.ts'
import { isGatewayField } from '../../canonical/gateway-fields.ts'
import type { Target, UpstreamRequest } from '../provider.ts'
import { ADDRESSES, type Place } from './addresses.ts'
import { mapped, messageSteps, toolSteps } from './messages.ts'
import { dropNamed, dropQuietly, isAllowed, mayDrop, type ParameterRule, parameterRule, refuseUnsupported } from './parameters.ts'

type Fields = Record<string, unknown>

/** Where OpenAI serves each mode, below its base. Rankings it has none: the others' usual place. */
export const OPENAI_PATHS: Readonly<Record<Mode, string>> = {
  chat: '/chat/completions',
  completion: '/completions',
  embedding: '/embeddings',
  rerank: '/rerank',
  moderation: '/moderations',
  image: '/images/generations',
  image_edit: '/images/edits',
  image_variation: '/images/variations',
  speech: '/audio/speech',
  transcription: '/audio/transcriptions',
  translation: '/audio/translations',
  count_tokens: '/responses/input_tokens',
}

/** Encodes requests of one mode for one provider; a row's rules are read when it is made. */
export interface RequestEncoder {
  /** The exact HTTP request. Throws GatewayError `unsupported_parameter`. */
  encode(request: Readonly<Fields>, target: Target): UpstreamRequest
  /**
   * The body as an object. Members that need no change are the very values of `request`, so that a caller holding the client's bytes
   * can splice only what differs.
   */
  shape(request: Readonly<Fields>, target: Target): Fields
  /** The request around a body made from `shape`. */
  wrap(target: Target, body: string | Uint8Array): UpstreamRequest
}

export function requestEncoder(mode: Mode, row: ProviderRow): RequestEncoder {
  const unsupported = (row.unsupported ?? []).map(parameterRule)
  const dropped = (row.drop ?? []).map(parameterRule)
  const onMessage = messageSteps(row)
  const onTool = toolSteps(row)
  const placed = row.addressing === undefined ? null : ADDRESSES[row.addressing]
  const placeOf = (target: Target): Place => (placed === null ? { base: target.base, model: target.model } : placed(target, row))

  const shape = (request: Readonly<Fields>, target: Target): Fields => {
    const body = ownFields(request, row.ownRouting)
    body['model'] = modelName(placeOf(target).model, row)
    streamOptions(body, mode, row)
    dropNamed(body, request, target)
    dropQuietly(body, dropped)
    refuseUnsupported(body, unsupported as readonly ParameterRule[], request, target)
    rename(body, row)
    if (mode !== 'chat') return body
    outputLimit(body, request, target, row)
    if (Array.isArray(body['messages'])) body['messages'] = mapped(body['messages'] as Message[], onMessage)
    if (Array.isArray(body['tools'])) body['tools'] = mapped(body['tools'] as Tool[], onTool)
    fitValues(body, row)
    if (row.toolChoiceAny && body['tool_choice'] === 'required') body['tool_choice'] = 'any'
    if (row.jsonSchemaAsObject) responseFormat(body)
    return body
  }

  const headers = { 'content-type': 'application/json', ...row.headers }
  const path = row.paths?.[mode] ?? OPENAI_PATHS[mode]
  const send = (target: Target, body: string | Uint8Array, to: string): UpstreamRequest => {
    const { base, url } = placeOf(target)
    return { method: 'POST', url: url ?? upstreamUrl(base, to, row.version), headers: { ...headers }, body }
  }
  return {
    shape,
    wrap: (target, body) => send(target, body, path),
    encode(request, target) {
      const begun = row.prefillPath !== undefined && mode === 'chat' && target.base === row.base && isBegun(request)
      return send(target, JSON.stringify(shape(request, target)), begun ? (row.prefillPath as string) : path)
    },
  }
}

/** Whether the last message is the beginning of the answer. */
function isBegun(request: Readonly<Fields>): boolean {
  const last = (request['messages'] as Message[]).at(-1)
  return last?.role === 'assistant' && last['prefix'] === true
}

/** Everything but what speaks to the gateway; `extra_body` is unpacked into it. */
function ownFields(request: Readonly<Fields>, ownRouting = false): Fields {
  const body: Fields = {}
  for (const name of Object.keys(request)) {
    if (!isGatewayField(name, request[name], ownRouting) && name !== '__proto__') body[name] = request[name]
  }
  const extra = request['extra_body']
  if (typeof extra === 'object' && extra !== null && !Array.isArray(extra)) {
    for (const [name, value] of Object.entries(extra)) {
      if (!isGatewayField(name, value, ownRouting) && name !== '__proto__') body[name] = value
    }
  }
  return body
}

function modelName(model: string, row: ProviderRow): string {
  return row.modelPrefix === undefined || model.includes('/') ? model : row.modelPrefix + model
}

/** Usage is always asked for: a stream without it would be billed by estimate. The dialect keeps it from clients that did not ask. */
function streamOptions(body: Fields, mode: Mode, row: ProviderRow): void {
  const text = mode === 'chat' || mode === 'completion'
  if (mode === 'embedding' || (!text && body['stream'] !== true)) delete body['stream']
  if (body['stream'] !== true || row.noStreamOptions || !text) {
    delete body['stream_options']
    return
  }
  const asked = body['stream_options'] as Fields | null | undefined
  if (asked?.['include_usage'] !== true) body['stream_options'] = { ...asked, include_usage: true }
}

/** Values the provider would refuse, as the nearest it takes. */
function fitValues(body: Fields, row: ProviderRow): void {
  const { temperature, n, reasoning_effort: effort } = body
  if (row.temperature !== undefined && typeof temperature === 'number') {
    const { max, minOfSeveral } = row.temperature
    const min = typeof n === 'number' && n > 1 ? minOfSeveral : 0
    if (temperature > max || temperature < min) body['temperature'] = Math.min(max, Math.max(min, temperature))
  }
  const fitting = typeof effort === 'string' && row.efforts !== undefined ? entryOf(row.efforts, effort) : undefined
  if (fitting !== undefined) body['reasoning_effort'] = fitting
  if (row.asksForTools !== true || body['tool_choice'] !== 'required') return
  delete body['tool_choice']
  if (Array.isArray(body['messages']))
    body['messages'] = [...(body['messages'] as Message[]), { role: 'user', content: 'Call one of the tools now.' }]
}

function rename(body: Fields, row: ProviderRow): void {
  for (const [from, to] of Object.entries(row.rename ?? {})) move(body, from, to)
}

/** Models that think take `max_completion_tokens` only, and no sampling parameters unless thinking is off; the others refuse an effort. */
const REASONING_MODEL = /^(?:.*\/)?(?:o\d|gpt-(?:[5-9]|\d\d)(?!.*-chat))/
const SAMPLING = ['temperature', 'top_p', 'presence_penalty', 'frequency_penalty', 'logit_bias', 'logprobs', 'top_logprobs']

function outputLimit(body: Fields, request: Readonly<Fields>, target: Target, row: ProviderRow): void {
  if (row.maxTokensName === 'max_tokens') move(body, 'max_completion_tokens', 'max_tokens')
  else if (row.maxTokensName === 'max_completion_tokens') move(body, 'max_tokens', 'max_completion_tokens')
  if (!row.reasoningModels) return
  if (!REASONING_MODEL.test(target.baseModel ?? target.model)) {
    if (mayDrop(request, target) && !isAllowed('reasoning_effort', request, target)) delete body['reasoning_effort']
    return
  }
  move(body, 'max_tokens', 'max_completion_tokens')
  if (body['reasoning_effort'] === 'none' || !mayDrop(request, target)) return
  for (const name of SAMPLING) {
    if (name === 'temperature' && body[name] === 1) continue
    if (Object.hasOwn(body, name) && !isAllowed(name, request, target)) delete body[name]
  }
}

function move(body: Fields, from: string, to: string): void {
  if (!Object.hasOwn(body, from)) return
  if (body[to] === undefined || body[to] === null) body[to] = body[from]
  delete body[from]
}

function responseFormat(body: Fields): void {
  const format = body['response_format'] as { type?: unknown; json_schema?: { schema?: unknown } } | null | undefined
  if (format?.type !== 'json_schema' || format.json_schema?.schema === undefined) return
  body['response_format'] = { type: 'json_object', schema: format.json_schema.schema }
}

/** Operators give a base with or without the version, some the whole address. */
function upstreamUrl(base: string, path: string, version: string | undefined): string {
  if (base.endsWith(path)) return base
  return version === undefined || base.endsWith(version) ? base + path : base + version + path
}
