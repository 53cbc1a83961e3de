import { SseParser } from '../../../shared/http/sse.ts'

type Fields = Record<string, unknown>

/** What a stream of the Responses API said, put together as its clients do. */
export interface Folded {
  /** Of the event that ended it; null where none did. */
  response: Fields | null
  /** Items as they were done, by place. */
  items: Fields[]
  /** Text of all `output_text` deltas. */
  text: string
  end: 'completed' | 'incomplete' | 'failed' | 'error' | 'cut'
  error: Fields | null
  types: string[]
}

/** Fields in which deltas of a kind are put together, and the event that repeats them. */
const SUMS: Readonly<Record<string, string>> = {
  'response.output_text': 'text',
  'response.refusal': 'refusal',
  'response.reasoning_summary_text': 'text',
  'response.reasoning_text': 'text',
  'response.function_call_arguments': 'arguments',
  'response.custom_tool_call_input': 'input',
}
const ENDS: ReadonlySet<string> = new Set(['response.completed', 'response.incomplete', 'response.failed', 'error'])

/** Folds a stream. Throws where it breaks the order of the protocol. */
export function fold(stream: string): Folded {
  const parser = new SseParser()
  const events = [...parser.push(Buffer.from(stream)), ...parser.end()]
  const folded: Folded = { response: null, items: [], text: '', end: 'cut', error: null, types: [] }
  const open = new Map<number, Fields>()
  const sums = new Map<string, string>()
  let id: unknown = null
  let number = -1
  let places = 0
  const demand = (holds: boolean, what: string): void => {
    if (!holds) throw new Error(`${what} (event ${number}, ${folded.types.at(-1)})`)
  }
  for (const { event, data } of events) {
    const payload = JSON.parse(data) as Fields
    const type = String(payload['type'])
    demand(type === event, `the event is called ${event} and says ${type}`)
    demand(folded.end === 'cut', `${type} after the end`)
    demand((payload['sequence_number'] as number) > number, `${payload['sequence_number']} does not count on from ${number}`)
    number = payload['sequence_number'] as number
    folded.types.push(type)
    if (type === 'error') {
      folded.end = 'error'
      folded.error = payload
      continue
    }
    const response = payload['response'] as Fields | undefined
    if (response !== undefined) {
      demand((type === 'response.created') === (id === null), `${type} at the wrong time`)
      id ??= response['id']
      demand(response['id'] === id, 'another id')
      if (!ENDS.has(type)) continue
      folded.response = response
      folded.end = type.slice('response.'.length) as Folded['end']
      if (type === 'response.failed') folded.error = response['error'] as Fields
      else {
        demand(open.size === 0, 'the end with items open')
        const output = (response['output'] as Fields[]).map(({ id: item }) => item)
        demand(JSON.stringify(output) === JSON.stringify(folded.items.map(({ id: item }) => item)), 'other items at the end')
      }
      continue
    }
    demand(id !== null, 'an event before the first')
    const place = payload['output_index'] as number
    if (type === 'response.output_item.added') {
      demand(place === places, `item ${place} is not the next`)
      places += 1
      open.set(place, payload['item'] as Fields)
      continue
    }
    const item = open.get(place)
    demand(item !== undefined, `item ${place} is not open`)
    if (type === 'response.output_item.done') {
      const done = payload['item'] as Fields
      demand(done['id'] === item?.['id'] && done['type'] === item?.['type'], 'another item')
      open.delete(place)
      folded.items[place] = done
      continue
    }
    demand(payload['item_id'] === item?.['id'], `${payload['item_id']} is not ${item?.['id']}`)
    const [, kind = '', step = ''] = /^(.*)\.(delta|done)$/.exec(type) ?? []
    const sum = SUMS[kind]
    if (sum === undefined) continue
    const key = `${kind} ${place} ${payload['content_index'] ?? payload['summary_index'] ?? ''}`
    if (step === 'delta') {
      sums.set(key, (sums.get(key) ?? '') + payload['delta'])
      if (kind === 'response.output_text') folded.text += payload['delta']
    } else demand((sums.get(key) ?? '') === payload[sum], `${kind} ends otherwise than it was told`)
  }
  return folded
}
