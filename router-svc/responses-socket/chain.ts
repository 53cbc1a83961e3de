import type { InputItem, OutputItem, ResponseObject } from '../canonical/responses.ts'
import type { Fields } from '../providers/json.ts'
import { itemsOf } from '../responses/kept-response.ts'
import { RECORD_MAX } from '../responses/store.ts'

/** What the last response of a connection went on from, and what was said since. */
interface Remembered {
  id: string
  model: unknown
  /** The last response that is kept elsewhere: by its provider, or by the gateway for all connections. Null = there is none. */
  base: string | null
  /** All that was said after it, the last answer included. */
  items: InputItem[]
}

/** A request as the call gets it. */
export interface Chained {
  body: Fields
  /** The response it goes on from is remembered here alone, so that its id says nothing to whoever answers. */
  from: string | null
}

/**
 * The last response of one connection, where it was not to be stored (`store: false`, or a warm-up): nobody else knows it. A turn that goes on from
 * it gets its items as input, behind whatever stored response they themselves go on from, so that any model can answer it. Those that are stored
 * are found as by any call.
 */
export class Chain {
  #last: Remembered | null = null

  /** The request with what it goes on from inside. */
  resolve(body: Fields): Chained {
    const last = this.#last
    if (last === null || body['previous_response_id'] !== last.id) return { body, from: null }
    // Only the model that reasoned can read what it sealed.
    const said = body['model'] === last.model ? last.items : last.items.filter(({ type }) => type !== 'reasoning')
    const { previous_response_id: _id, ...rest } = body
    const chained: Fields = { ...rest, input: [...said, ...itemsOf(body['input'])] }
    if (last.base !== null) chained['previous_response_id'] = last.base
    return { body: chained, from: last.id }
  }

  /** A response has ended well. `body`: its request, resolved; `bytes`: of both. One too large to be worth keeping is not found later. */
  keep(body: Fields, { id, output }: Pick<ResponseObject, 'id' | 'output'>, stored: boolean, bytes: number): void {
    if (stored || bytes > RECORD_MAX) {
      this.#last = null
      return
    }
    const base = typeof body['previous_response_id'] === 'string' ? body['previous_response_id'] : null
    this.#last = { id, model: body['model'], base, items: [...itemsOf(body['input']), ...output.flatMap(asInput)] }
  }

  /** A turn that went on from here failed: the next begins anew, as with OpenAI. */
  forget(): void {
    this.#last = null
  }
}

/** Items whose ids only mean something where they are stored. */
const NAMED: ReadonlySet<string> = new Set(['message', 'reasoning', 'function_call', 'custom_tool_call'])

/**
 * An item of an answer as input, for somebody who does not keep it: an id would be looked up and not found, and reasoning without its sealed text is
 * nothing but an id.
 */
function asInput(item: OutputItem): InputItem[] {
  if (!NAMED.has(String(item.type))) return [item as InputItem]
  if (item.type === 'reasoning' && typeof item['encrypted_content'] !== 'string') return []
  const { id: _id, status: _status, ...rest } = item as unknown as Record<string, unknown>
  return [rest as unknown as InputItem]
}
