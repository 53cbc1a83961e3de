import { isObject } from '../../../shared/json-object.ts'
import type { ChatResponse, FinishReason, ResponseMessage, ResponsesClient, ToolCall } from '../../canonical/chat.ts'
import type { Annotation, OutputItem, ResponseObject, ResponsesRequest } from '../../canonical/responses.ts'
import {
  annotationOf,
  callItem,
  customNames,
  type ItemIds,
  itemIds,
  logprobsOf,
  reasoningItem,
  textPart,
  thinkingText,
} from './items.ts'
import { encodeUsage } from './usage.ts'

type Fields = Readonly<Record<string, unknown>>

/** A canonical answer as a response object; further choices than the first have no place in this protocol. */
export function encodeResponse(response: ChatResponse, model: string, client?: ResponsesClient): ResponseObject {
  const choice = response.choices[0]
  const key = client?.key ?? keyOf(response.id)
  const ending = endingOf(choice?.finish_reason ?? null)
  const made = envelope({ id: client?.id ?? `resp_${key}`, model, created: response.created, body: client?.body ?? null })
  made.status = ending.status
  made.incomplete_details = ending.incomplete
  if (ending.status === 'completed') made.completed_at = response.created
  if (choice !== undefined)
    made.output = outputOf(choice.message, choice.logprobs, {
      ids: itemIds(key),
      custom: customNames(client?.body.tools),
      status: ending.status,
    })
  if (response.usage !== undefined) made.usage = encodeUsage(response.usage)
  if (response.service_tier !== undefined) made.service_tier = tierOf(response.service_tier)
  return made
}

/** The letters and digits of another protocol's id. */
export function keyOf(id: string): string {
  return id.replace(/^(chatcmpl|msg|resp)[-_]/, '').replace(/[^A-Za-z0-9]/g, '')
}

export interface Ending {
  status: 'completed' | 'incomplete'
  incomplete: { reason: string } | null
}

export function endingOf(finish: FinishReason | null): Ending {
  if (finish === 'length') return { status: 'incomplete', incomplete: { reason: 'max_output_tokens' } }
  if (finish === 'content_filter') return { status: 'incomplete', incomplete: { reason: 'content_filter' } }
  return { status: 'completed', incomplete: null }
}

export interface EnvelopeFacts {
  id: string
  model: string
  /** Unix seconds. */
  created: number
  body: ResponsesRequest | null
}

/** A response before it has said anything: what was asked is repeated in it. */
export function envelope({ id, model, created, body }: EnvelopeFacts): ResponseObject {
  const asked: Fields = body ?? {}
  return {
    id,
    object: 'response',
    created_at: created,
    status: 'in_progress',
    background: asked['background'] ?? false,
    completed_at: null,
    error: null,
    incomplete_details: null,
    instructions: body?.instructions ?? null,
    max_output_tokens: body?.max_output_tokens ?? null,
    max_tool_calls: body?.max_tool_calls ?? null,
    model,
    output: [],
    parallel_tool_calls: body?.parallel_tool_calls ?? true,
    previous_response_id: body?.previous_response_id ?? null,
    prompt_cache_key: asked['prompt_cache_key'] ?? null,
    reasoning: { effort: null, summary: null, ...body?.reasoning },
    safety_identifier: asked['safety_identifier'] ?? null,
    service_tier: body?.service_tier ?? 'default',
    store: body?.store ?? true,
    temperature: body?.temperature ?? 1,
    text: { format: { type: 'text' }, ...body?.text },
    tool_choice: body?.tool_choice ?? 'auto',
    tools: (body?.tools ?? []).map((tool) =>
      tool.type === 'function' ? { ...tool, parameters: tool.parameters ?? null, strict: tool.strict ?? false } : tool,
    ),
    top_logprobs: body?.top_logprobs ?? 0,
    top_p: body?.top_p ?? 1,
    truncation: body?.truncation ?? 'disabled',
    ...(body?.user == null ? {} : { user: body.user }),
    metadata: body?.metadata ?? {},
  }
}

const TIERS: ReadonlySet<string> = new Set(['auto', 'default', 'flex', 'scale', 'priority'])

/** Other providers' words for it are not in this protocol. */
export function tierOf(tier: string): string {
  return TIERS.has(tier) ? tier : 'default'
}

interface OutputFacts {
  ids: ItemIds
  custom: ReadonlySet<string>
  status: Ending['status']
}

function outputOf(message: ResponseMessage, logprobs: unknown, facts: OutputFacts): OutputItem[] {
  const kept = isObject(message.provider_specific_fields) ? message.provider_specific_fields['output_items'] : undefined
  if (Array.isArray(kept) && kept.length > 0) return keptOutput(kept.filter(isObject), message, logprobs)
  const { ids, custom, status } = facts
  const output: OutputItem[] = []
  const thinking = message.thinking_blocks ?? []
  const reasoning = message.reasoning_content || thinkingText(thinking)
  if (reasoning !== '' || thinking.length > 0) output.push(reasoningItem(ids('rs', 0), reasoning, thinking))
  for (const image of imagesOf(message))
    output.push({ id: ids('ig', output.length), type: 'image_generation_call', status: 'completed', result: image })
  const content = []
  if (typeof message.content === 'string' && message.content !== '')
    content.push(textPart(message.content, annotationsOf(message), logprobsOf(logprobs)))
  if (typeof message.refusal === 'string' && message.refusal !== '') content.push({ type: 'refusal', refusal: message.refusal })
  const calls = message.tool_calls ?? []
  if (content.length > 0 || (output.length === 0 && calls.length === 0))
    output.push({ id: ids('msg', output.length), type: 'message', role: 'assistant', status, content })
  for (const call of calls) output.push(callItem(ids, output.length, call, custom, status))
  return output
}

/** Items a provider of this protocol answered with (providers/responses/kept.ts): text and arguments are put back into them. */
function keptOutput(kept: readonly Fields[], message: ResponseMessage, logprobs: unknown): OutputItem[] {
  const calls = new Map<unknown, ToolCall>((message.tool_calls ?? []).map((call) => [call.id, call]))
  const pictures = imagesOf(message)
  const text = message.content ?? ''
  const lastMessage = kept.findLastIndex(({ type }) => type === 'message')
  let at = 0
  return kept.map((item, index) => {
    switch (item['type']) {
      case 'message': {
        const { length, ...rest } = item
        const end = index === lastMessage ? text.length : at + (Number(length) || 0)
        const start = at
        at = end
        const annotations = start === 0 ? annotationsOf(message) : []
        const content =
          message.refusal && text === ''
            ? [{ type: 'refusal', refusal: message.refusal }]
            : [textPart(text.slice(start, end), annotations, start === 0 ? logprobsOf(logprobs) : [])]
        return { ...rest, role: 'assistant', content } as OutputItem
      }
      case 'function_call':
        return { ...item, arguments: calls.get(item['call_id'])?.function?.arguments ?? '{}' } as OutputItem
      case 'custom_tool_call':
        return { ...item, input: calls.get(item['call_id'])?.custom?.input ?? '' } as OutputItem
      case 'image_generation_call':
        return { ...item, result: pictures.shift() ?? null } as unknown as OutputItem
      default:
        return item as OutputItem
    }
  })
}

function annotationsOf(message: ResponseMessage): Annotation[] {
  return (message.annotations ?? []).map(annotationOf).filter((one): one is Annotation => one !== null)
}

/** The base64 data of a message's pictures. */
function imagesOf(message: ResponseMessage): string[] {
  const images = Array.isArray(message['images']) ? (message['images'] as unknown[]) : []
  return images.flatMap((image) => {
    const source = isObject(image) && isObject(image['image_url']) ? image['image_url']['url'] : undefined
    return typeof source === 'string' && source.startsWith('data:') ? [source.slice(source.indexOf(',') + 1)] : []
  })
}
