import { SseParser } from '../../../shared/http/sse.ts'

type Fields = Record<string, unknown>

/** What a stream of the Messages API said, put together as its clients do. */
export interface Folded {
  message: Fields
  blocks: Fields[]
  stop: string | null
  usage: Fields
  /** `stop`: complete; `error`: ended by an error event; `cut`: neither. */
  end: 'stop' | 'error' | 'cut'
  error: Fields | null
}

const DELTAS: Readonly<Record<string, readonly string[]>> = {
  text: ['text_delta', 'citations_delta'],
  thinking: ['thinking_delta', 'signature_delta'],
}
/** Tool calls, the client's and the server's, are told by their input. */
const INPUT = ['input_json_delta', 'compaction_delta']

/** Folds a stream. Throws where it breaks the order of the protocol. */
export function fold(stream: string): Folded {
  const parser = new SseParser()
  const events = [...parser.push(Buffer.from(stream)), ...parser.end()]
  const folded: Folded = { message: {}, blocks: [], stop: null, usage: {}, end: 'cut', error: null }
  let state: 'silent' | 'open' | 'finished' | 'over' = 'silent'
  let block: Fields | null = null
  let input = ''
  const demand = (holds: boolean, what: string): void => {
    if (!holds) throw new Error(`${what} (${state}, after ${folded.blocks.length} blocks)`)
  }
  for (const { event, data } of events) {
    const payload = JSON.parse(data) as Fields & { index?: number; delta?: Fields; usage?: Fields }
    demand(payload['type'] === event, `the event is called ${event} and says ${payload['type']}`)
    demand(state !== 'over', `${event} after the end`)
    if (event === 'ping') continue
    if (event === 'error') {
      state = 'over'
      folded.end = 'error'
      folded.error = payload['error'] as Fields
      continue
    }
    demand((event === 'message_start') === (state === 'silent'), `${event} at the wrong time`)
    switch (event) {
      case 'message_start':
        folded.message = payload['message'] as Fields
        demand(Array.isArray(folded.message['content']) && folded.message['content'].length === 0, 'a message that is not empty')
        Object.assign(folded.usage, folded.message['usage'])
        state = 'open'
        break
      case 'content_block_start':
        demand(state === 'open' && block === null, 'a block inside another')
        demand(payload.index === folded.blocks.length, `block ${payload.index} is not the next`)
        block = { ...(payload['content_block'] as Fields) }
        input = ''
        folded.blocks.push(block)
        break
      case 'content_block_delta':
        demand(block !== null && payload.index === folded.blocks.length - 1, 'a delta outside its block')
        demand(
          (DELTAS[String(block?.['type'])] ?? INPUT).includes(String(payload.delta?.['type'])),
          `a ${payload.delta?.['type']} in a block of ${block?.['type']}`,
        )
        input += apply(block as Fields, payload.delta as Fields)
        break
      case 'content_block_stop':
        demand(block !== null && payload.index === folded.blocks.length - 1, 'the end of no block')
        if (input !== '') (block as Fields)['input'] = JSON.parse(input)
        block = null
        break
      case 'message_delta':
        demand(block === null, 'the end of the message inside a block')
        folded.stop = (payload.delta?.['stop_reason'] as string | null) ?? folded.stop
        for (const [name, value] of Object.entries(payload.usage ?? {})) if (value !== null) folded.usage[name] = value
        state = 'finished'
        break
      case 'message_stop':
        demand(state === 'finished', 'message_stop without message_delta')
        state = 'over'
        folded.end = 'stop'
        break
      default:
        throw new Error(`unknown event ${event}`)
    }
  }
  return folded
}

/** Adds a delta to a block; returns what it says of the input. */
function apply(block: Fields, delta: Fields): string {
  switch (delta['type']) {
    case 'text_delta':
      block['text'] = `${block['text']}${delta['text']}`
      return ''
    case 'thinking_delta':
      block['thinking'] = `${block['thinking']}${delta['thinking']}`
      return ''
    case 'signature_delta':
      block['signature'] = `${block['signature'] ?? ''}${delta['signature']}`
      return ''
    case 'citations_delta':
      block['citations'] = [...((block['citations'] as unknown[] | undefined) ?? []), delta['citation']]
      return ''
    case 'input_json_delta':
      return String(delta['partial_json'])
    default:
      return ''
  }
}

/** What of blocks must be the same however they were cut: text and thinking joined where neighbours, calls with their input. */
export function gist(blocks: readonly Fields[]): Fields[] {
  const joined: Fields[] = []
  for (const block of blocks) {
    const last = joined.at(-1)
    if (block['type'] === 'text' && block['text'] === '') continue
    if (block['type'] === 'text' && last?.['type'] === 'text') last['text'] = `${last['text']}${block['text']}`
    else if (block['type'] === 'text') joined.push({ type: 'text', text: block['text'] })
    else {
      const { signature, ...rest } = block
      joined.push(signature === '' || signature === undefined ? rest : { ...rest, signature })
    }
  }
  return joined
}
