import type { GatewayError } from '../../../shared/errors.ts'
import type { FinishReason, ToolCall, Usage } from '../../canonical/chat.ts'
import type { OutputItem } from '../../canonical/responses.ts'
import { type Fields, isFields, text } from '../json.ts'
import type { ErrorReader } from '../openai/response.ts'
import { readUsage } from '../openai/usage.ts'
import type { Headers } from '../provider.ts'

/** What whole answers and streams read alike. */

/** Between parts of reasoning, each a paragraph of its own. */
export const PARAGRAPH = '\n\n'

/** Why the answer ended, from the whole response object. */
export function finishReason(response: Fields, calls: number): FinishReason {
  const details = response['incomplete_details']
  const reason = isFields(details) ? text(details['reason']) : ''
  if (reason === 'max_output_tokens' || reason === 'max_tokens') return 'length'
  if (reason === 'content_filter') return 'content_filter'
  if (response['status'] === 'incomplete' && reason !== '') return reason
  return calls > 0 ? 'tool_calls' : 'stop'
}

/** Usage under chat's names; null where none was told. `searches` that ran at the provider are billed by the call. */
export function decodeUsage(raw: unknown, output: readonly unknown[]): Usage | null {
  if (!isFields(raw)) return null
  const {
    input_tokens,
    output_tokens,
    input_tokens_details: input,
    output_tokens_details: output_details,
    prompt_tokens,
    completion_tokens,
    ...rest
  } = raw
  const usage = readUsage({
    ...rest,
    prompt_tokens: input_tokens ?? prompt_tokens,
    completion_tokens: output_tokens ?? completion_tokens,
    ...(isFields(input) ? { prompt_tokens_details: input } : {}),
    ...(isFields(output_details) ? { completion_tokens_details: output_details } : {}),
  })
  const searches = output.filter((item) => isFields(item) && item['type'] === 'web_search_call' && !isPageVisit(item)).length
  if (usage !== null && searches > 0 && usage.server_tool_use === undefined)
    usage.server_tool_use = { web_search_requests: searches }
  return usage
}

/** Opening a page found before, or looking for words in it, is no search. */
function isPageVisit(item: Fields): boolean {
  const action = item['action']
  return isFields(action) && (action['type'] === 'open_page' || action['type'] === 'find_in_page' || action['type'] === 'find')
}

/** A call of the client's tools; null for any other item. */
export function toolCall(item: OutputItem | Fields, fallbackId: string): ToolCall | null {
  const fields = item as Fields
  const id = text(fields['call_id']) || text(fields['id']) || fallbackId
  const name = text(fields['name'])
  if (fields['type'] === 'function_call')
    return { id, type: 'function', function: { name, arguments: text(fields['arguments']) } }
  if (fields['type'] === 'custom_tool_call') return { id, type: 'custom', custom: { name, input: text(fields['input']) } }
  return null
}

/** Chat nests what this API says flat, and counts from the start of all text. */
export function annotation(raw: unknown, start: number): unknown {
  if (!isFields(raw) || raw['type'] !== 'url_citation' || isFields(raw['url_citation'])) return raw
  const { type, ...citation } = raw
  for (const name of ['start_index', 'end_index'])
    if (typeof citation[name] === 'number') citation[name] = (citation[name] as number) + start
  return { type, url_citation: citation }
}

/** All reasoning an item tells: its summary, or where there is none the raw text. */
export function reasoningParts(item: Fields): string[] {
  const summary = texts(item['summary'])
  return summary.length > 0 ? summary : texts(item['content'])
}

function texts(parts: unknown): string[] {
  if (!Array.isArray(parts)) return []
  return (parts as unknown[]).map((part) => (isFields(part) ? text(part['text']) : '')).filter((part) => part !== '')
}

/** A picture the model made, as `images` of a message has it (surface reference §7.2); null for other items and unfinished ones. */
export function picture(item: Fields, index: number): Fields | null {
  if (item['type'] !== 'image_generation_call' || text(item['result']) === '') return null
  const format = text(item['output_format'], 'png')
  return { type: 'image_url', index, image_url: { url: `data:image/${format};base64,${text(item['result'])}` } }
}

/** The failure a response object or an `error` event tells of; null when it tells of none. */
export function failure(source: Fields, headers: Headers, readError: ErrorReader): GatewayError | null {
  const nested = source['error']
  const failed = source['status'] === 'failed' || source['status'] === 'cancelled' || source['type'] === 'error'
  if (typeof nested === 'string' && nested !== '') return readError(200, headers, JSON.stringify({ error: { message: nested } }))
  if (!isFields(nested) && !failed) return null
  const error: Fields = isFields(nested)
    ? { ...nested }
    : { code: source['code'], message: source['message'], param: source['param'] }
  if (text(error['message']) === '') error['message'] = `the response is ${text(source['status'], 'failed')}`
  const code = text(error['code'])
  if (CONTENT_POLICY.has(code)) error['type'] = 'content_policy_violation'
  else if (code === 'vector_store_timeout') error['status'] ??= 504
  else if (code !== '' && !OURS.has(code) && (error['type'] == null || error['type'] === 'error') && !/^\d+$/.test(code)) {
    // The rest speak of what was sent: a picture that cannot be read, a prompt that is refused.
    error['type'] = 'invalid_request_error'
  }
  return readError(200, headers, JSON.stringify({ error }))
}

const CONTENT_POLICY: ReadonlySet<string> = new Set(['image_content_policy_violation', 'bio_policy', 'cyber_policy'])
/** Codes of failures that are not the request's. */
const OURS: ReadonlySet<string> = new Set([
  'server_error',
  'rate_limit_exceeded',
  'insufficient_quota',
  'internal_error',
  'server_is_overloaded',
  'slow_down',
  'timeout',
])
