import { entryOf } from '../../../shared/entry.ts'
import { type Fields, isFields, objects, text } from './wire.ts'

/** A call that comes in pieces (Vertex, `streamFunctionCallArguments`): the first names it, the last one promises no more. */
export interface PartialCall {
  /** The first piece, with name and id. */
  call: Fields
  args: Fields
  signature: string
}

/** Takes in the `partialArgs` of a piece: each says the next value, or the rest of a text, at a path. Changes `into`. */
export function addArguments(into: Fields, piece: Fields): void {
  for (const partial of objects(piece['partialArgs'])) {
    const steps = text(partial['jsonPath']).match(/[^.[\]'"$]+/g) ?? []
    const value = partial['stringValue'] ?? partial['numberValue'] ?? partial['boolValue'] ?? null
    if (steps.length > 0) put(into, steps, value)
  }
}

function put(into: Fields, steps: readonly string[], value: unknown): void {
  let at: Fields | unknown[] = into
  for (const [position, step] of steps.entries()) {
    const next = steps[position + 1]
    const holder = at as Fields
    if (next === undefined) {
      const before = entryOf(holder, step)
      const joined = typeof before === 'string' && typeof value === 'string' ? before + value : value
      define(holder, step, joined)
      return
    }
    const found = entryOf(holder, step)
    const inner: Fields | unknown[] = isFields(found) || Array.isArray(found) ? found : /^\d{1,4}$/.test(next) ? [] : {}
    define(holder, step, inner)
    at = inner
  }
}

/** As a member of its own, whatever its name: a model may well call one `__proto__`. */
function define(holder: Fields, step: string, value: unknown): void {
  Object.defineProperty(holder, step, { value, writable: true, enumerable: true, configurable: true })
}
