import { type CallMessage, LAST_PRIORITY, type StartHead } from '../../proto/call.ts'
import { ENDPOINTS } from '../../proto/endpoints.ts'
import type { WireError } from '../../proto/errors.ts'
import type { Identity } from '../../proto/identity.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, OutgoingStream } from '../../shared/bus/bus.ts'
import type { Codec } from '../../shared/bus/codec.ts'
import type { Clock } from '../../shared/clock.ts'
import { fromWire } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { bookUnsettled } from '../../shared/unsettled.ts'
import type { ClaimedLine } from '../sql/own-batches.ts'

export interface LineCallDeps {
  bus: Bus
  codec: Codec
  clock: Clock
  log: Log
}

/** `lost`: nobody knows how it ended, and the same call may be opened again. `refused`: no router took it, so nothing happened. */
export type LineAnswer =
  | { kind: 'answered'; status: number; headers: Record<string, string>; body: Buffer }
  | { kind: 'lost'; error: WireError }
  | { kind: 'refused'; error: WireError }

/** Milliseconds for one line, retries and fallbacks in the router included. */
const LINE_LIMIT = 600_000
/** Bytes of an answer that are kept; more of it is no answer. */
const ANSWER_MAX = 64 * 1024 * 1024
const TOO_LARGE = Buffer.from(
  JSON.stringify({ error: { message: 'The answer is too large for a batch.', type: 'server_error', param: null, code: '413' } }),
)

/** A line on its way. `cancel`: nobody wants the answer any more, and `answer` stays open. */
export interface LineCall {
  answer: Promise<LineAnswer>
  cancel(): void
}

/**
 * Opens a line as a call of its batch's maker. Whatever is known of the call under its `Idempotency-Key` is answered again and not paid again; another
 * take of the same call takes over from one whose opener or router died.
 */
export function openLine(
  deps: LineCallDeps,
  batch: { id: string; endpoint: string; identity: Identity },
  line: ClaimedLine,
): LineCall {
  const { bus } = deps
  const row = ENDPOINTS.find(({ path }) => path === batch.endpoint)
  const head: CallMessage = {
    v: WIRE_VERSION,
    callId: line.callId,
    take: line.takes,
    endpoint: row?.name ?? batch.endpoint,
    identity: batch.identity,
    headers: {
      'content-type': 'application/json',
      'idempotency-key': `batch ${batch.id} ${line.line}`,
      'x-litellm-session-id': batch.id,
    },
  }
  let stream: OutgoingStream | null = null
  const answer = new Promise<LineAnswer>((resolve) => {
    let start: StartHead | null = null
    let taken = false
    let size = 0
    let parts: Uint8Array[] = []
    stream = bus.open(
      bus.subjects.call('default'),
      { id: line.callId, head, body: requestOf(batch.id, line), deadline: LINE_LIMIT },
      {
        accept() {
          taken = true
        },
        start(given) {
          taken = true
          start = given
        },
        data(bytes) {
          size += bytes.length
          if (size <= ANSWER_MAX) parts.push(Uint8Array.from(bytes))
          else parts = []
          stream?.consumed(bytes.length)
        },
        end() {
          const { status = 200, headers = {} } = start ?? {}
          if (size > ANSWER_MAX) resolve({ kind: 'answered', status: 413, headers: {}, body: TOO_LARGE })
          else resolve({ kind: 'answered', status, headers, body: Buffer.concat(parts) })
        },
        error(error) {
          if (error.code === 'lost_router' && start?.booking !== undefined)
            void bookUnsettled(deps, start.booking, size, fromWire(error))
          resolve({ kind: taken ? 'lost' : 'refused', error })
        },
      },
    )
  })
  return { answer, cancel: () => stream?.cancel('the gateway stops running batches here') }
}

/** The same bytes for the same line, whoever opens it: a repeat with others would be another request. */
function requestOf(batchId: string, { request, customId }: ClaimedLine): Buffer {
  const body = JSON.parse(request) as Record<string, unknown>
  const told = body['litellm_metadata']
  const metadata = typeof told === 'object' && told !== null && !Array.isArray(told) ? told : {}
  return Buffer.from(
    JSON.stringify({
      ...body,
      priority: LAST_PRIORITY,
      litellm_metadata: { ...metadata, batch_id: batchId, batch_custom_id: customId },
    }),
  )
}
