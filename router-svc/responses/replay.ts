import { sseEvent } from '../../shared/http/sse.ts'
import type { OutputItem, ResponseObject } from '../canonical/responses.ts'
import { type Fields, isFields } from '../providers/json.ts'

/** Status of a response that still changes. */
export function isRunning({ status }: ResponseObject): boolean {
  return status === 'queued' || status === 'in_progress'
}

/** Events that stand before anything is answered: what a client that follows a response in the background gets at once. */
export function openingEvents(response: ResponseObject): Fields[] {
  const begun = { ...response, status: 'in_progress', output: [], error: null, incomplete_details: null, usage: null }
  if (response['background'] !== true)
    return [
      { type: 'response.created', response: begun },
      { type: 'response.in_progress', response: begun },
    ]
  const queued = { ...begun, status: 'queued' }
  return [
    { type: 'response.created', response: queued },
    { type: 'response.queued', response: queued },
    { type: 'response.in_progress', response: begun },
  ]
}

/**
 * The events a stream of a kept response would have had, in their order: each text in one delta. Numbered from 0, so that the same event has the same
 * number whenever it is asked for.
 */
export function replayEvents(response: ResponseObject): Fields[] {
  const events = openingEvents(response)
  for (const [place, item] of response.output.entries()) events.push(...itemEvents(item, place))
  events.push({ type: `response.${ENDS.has(String(response.status)) ? response.status : 'failed'}`, response })
  return events.map((event, number) => ({ type: event['type'], sequence_number: number, ...event }))
}

const ENDS: ReadonlySet<string> = new Set(['completed', 'incomplete', 'failed', 'cancelled'])

/** Events behind the one with this number, as bytes of a stream. */
export function eventText(events: readonly Fields[], after = -1): string {
  const left = events.filter((event) => (event['sequence_number'] as number) > after)
  return left.map((event) => sseEvent(JSON.stringify(event), String(event['type']))).join('')
}

function itemEvents(item: OutputItem, place: number): Fields[] {
  const at = { item_id: item['id'], output_index: place }
  return [
    { type: 'response.output_item.added', output_index: place, item: emptied(item) },
    ...insides(item, at),
    { type: 'response.output_item.done', output_index: place, item },
  ]
}

/** An item before it said anything. */
function emptied(item: OutputItem): Fields {
  const begun: Fields = { ...item }
  if (begun['status'] !== undefined) begun['status'] = 'in_progress'
  if (item.type === 'message') begun['content'] = []
  if (item.type === 'reasoning') begun['summary'] = []
  if (item.type === 'function_call') begun['arguments'] = ''
  if (item.type === 'custom_tool_call') begun['input'] = ''
  return begun
}

function insides(item: OutputItem, at: Fields): Fields[] {
  switch (item.type) {
    case 'message':
      return partsIn(item['content']).flatMap((part, content_index) => contentEvents(part, { ...at, content_index }))
    case 'reasoning':
      return partsIn(item['summary']).flatMap((part, summary_index) => {
        const where = { ...at, summary_index }
        return [
          { type: 'response.reasoning_summary_part.added', ...where, part: { ...part, text: '' } },
          { type: 'response.reasoning_summary_text.delta', ...where, delta: part['text'] },
          { type: 'response.reasoning_summary_text.done', ...where, text: part['text'] },
          { type: 'response.reasoning_summary_part.done', ...where, part },
        ]
      })
    case 'function_call':
      return [
        { type: 'response.function_call_arguments.delta', ...at, delta: item['arguments'] },
        { type: 'response.function_call_arguments.done', ...at, name: item['name'], arguments: item['arguments'] },
      ]
    case 'custom_tool_call':
      return [
        { type: 'response.custom_tool_call_input.delta', ...at, delta: item['input'] },
        { type: 'response.custom_tool_call_input.done', ...at, input: item['input'] },
      ]
    default:
      return []
  }
}

function contentEvents(part: Fields, at: Fields): Fields[] {
  const added = (empty: Fields): Fields => ({ type: 'response.content_part.added', ...at, part: { ...part, ...empty } })
  const done = { type: 'response.content_part.done', ...at, part }
  if (part['type'] === 'refusal') {
    return [
      added({ refusal: '' }),
      { type: 'response.refusal.delta', ...at, delta: part['refusal'] },
      { type: 'response.refusal.done', ...at, refusal: part['refusal'] },
      done,
    ]
  }
  if (part['type'] !== 'output_text') return [added({}), done]
  const { text, logprobs = [], annotations } = part
  const cited = Array.isArray(annotations) ? (annotations as unknown[]) : []
  return [
    added({ text: '', annotations: [], logprobs: [] }),
    { type: 'response.output_text.delta', ...at, delta: text, logprobs },
    ...cited.map((annotation, annotation_index) => ({
      type: 'response.output_text.annotation.added',
      ...at,
      annotation_index,
      annotation,
    })),
    { type: 'response.output_text.done', ...at, text, logprobs },
    done,
  ]
}

function partsIn(value: unknown): Fields[] {
  return Array.isArray(value) ? (value as unknown[]).filter(isFields) : []
}
