import type { ClaimedLine } from '../sql/own-batches.ts'
import type { LineAnswer } from './line-call.ts'
import { resultId } from './write-results.ts'

/** What becomes of a line. */
export type Verdict =
  | { what: 'record'; state: 'answered' | 'refused'; result: string }
  /**
   * Again in `delay` milliseconds. `known`: how the call ended is known, the next is another one. `failed`: it counts as a try. `busy`: there is no room
   * for more at once now.
   */
  | { what: 'defer'; delay: number; known: boolean; failed: boolean; busy: boolean }
  /** A budget does not allow it: spent, or held by what runs beside it. */
  | { what: 'unpaid'; message: string }

/** Tries of a line whose calls fail. Being refused for want of room is no try: that ends with the window. */
export const TRIES = 5
/** Milliseconds, and how far they double. */
const FIRST_DELAY = 1_000
const DELAY_MAX = 60_000
/** Statuses that another try may better: the provider or the gateway failed, not the request. */
const PASSING: ReadonlySet<number> = new Set([408, 409, 425])

/** Pure. */
export function judge(batchId: string, line: ClaimedLine, answer: LineAnswer): Verdict {
  const delay = Math.min(FIRST_DELAY * 2 ** line.failures, DELAY_MAX)
  const spent = line.failures + 1 >= TRIES
  const { customId: custom_id } = line
  const id = resultId(batchId, line.line)
  if (answer.kind === 'refused')
    return { what: 'defer', delay: answer.error.retryAfter ?? delay, known: false, failed: false, busy: true }
  if (answer.kind === 'lost') {
    if (!spent) return { what: 'defer', delay, known: false, failed: true, busy: false }
    const { code, message } = answer.error
    return {
      what: 'record',
      state: 'refused',
      result: JSON.stringify({ id, custom_id, response: null, error: { code, message } }),
    }
  }
  const { status, headers } = answer
  const body = parsed(answer.body)
  const response = { status_code: status, request_id: line.callId, body }
  const result = JSON.stringify({ id, custom_id, response, error: null })
  if (status < 300) return { what: 'record', state: 'answered', result }
  const { type, message } = errorIn(body)
  if (type === 'budget_exceeded') return { what: 'unpaid', message }
  if (status === 429 && type !== 'insufficient_quota')
    return { what: 'defer', delay: told(headers) ?? delay, known: true, failed: false, busy: true }
  if ((status === 429 || status >= 500 || PASSING.has(status)) && !spent)
    return { what: 'defer', delay: told(headers) ?? delay, known: true, failed: true, busy: status === 503 }
  return { what: 'record', state: 'refused', result }
}

/** Milliseconds the answer says to wait. */
function told(headers: Record<string, string>): number | null {
  const seconds = Number(headers['retry-after'] ?? Number.NaN)
  return seconds > 0 ? Math.min(seconds * 1000, DELAY_MAX) : null
}

function errorIn(body: unknown): { type: string; message: string } {
  const error = (body as { error?: { type?: unknown; message?: unknown } } | null)?.error
  return { type: String(error?.type ?? ''), message: String(error?.message ?? 'A budget is used up.') }
}

/** Answers are JSON; what is none stays text. */
function parsed(body: Buffer): unknown {
  const text = body.toString('utf8')
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}
