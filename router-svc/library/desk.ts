import type { StartHead } from '../../proto/call.ts'
import type { EndpointName } from '../../proto/endpoints.ts'
import { adminIdentity } from '../../proto/identity.ts'
import type { UsageEvent } from '../../proto/usage.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import { fromWire, GatewayError } from '../../shared/errors.ts'
import { callId } from '../../shared/ids.ts'
import { AnswerStream } from './answer-stream.ts'
import { TurnpikeError } from './errors.ts'
import { encodeForm } from './form.ts'
import { type CallReport, type ReportSlot, reportOfEvent } from './report.ts'
import type { Serving } from './serving.ts'

/** One call as the caller asks for it. */
export interface Asked {
  endpoint: EndpointName
  /** OpenAI's (or the endpoint's own) fields; nothing that only concerns this library. */
  body: Record<string, unknown>
  /** As multipart form: it holds files. */
  form: boolean
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
  onCall?: ((report: CallReport) => void) | undefined
}

/** An answer that has begun. */
export interface Begun {
  head: StartHead
  stream: AnswerStream
  slot: ReportSlot
}

/** Where calls are handed in and their answers and reports handed out. */
export interface Desk {
  /** Resolves when the answer begins. Rejects with TurnpikeError, or with the reason of the signal. */
  open(serving: Pick<Serving, 'serve'>, asked: Asked): Promise<Begun>
  /** A call was booked: to whom it belongs, and who listens, is told. */
  booked(event: UsageEvent): void
  /** What the router says of a fault of its own: an error that only says `Internal error.` would help nobody who can read the cause. */
  caused(callId: string, cause: unknown): void
  readonly running: number
  /** Ends every running call and takes no more; resolves once all are booked. */
  close(): Promise<void>
}

/** Whose calls these are in the records; without limits. */
const CALLER = adminIdentity('library')

interface Open {
  cause: unknown
  stream: AnswerStream
  slot: ReportSlot
  onCall: ((report: CallReport) => void) | undefined
}

export interface DeskDeps {
  onCall: ((report: CallReport) => void) | undefined
  /** While calls run, the process stays: timers of retries alone would not keep it. Called with every change between none and some. */
  busy(some: boolean): void
  /** Where what a listener throws goes. */
  complain(thrown: unknown): void
}

export function createDesk({ onCall, busy, complain }: DeskDeps): Desk {
  const running = new Map<string, Open>()
  const idle = Promise.withResolvers<void>()
  let closed = false

  function tell(report: CallReport, listeners: readonly (Open['onCall'] | undefined)[]): void {
    for (const listener of listeners) {
      try {
        listener?.(report)
      } catch (thrown) {
        complain(thrown)
      }
    }
  }

  function ended(id: string): void {
    running.delete(id)
    if (running.size > 0) return
    busy(false)
    if (closed) idle.resolve()
  }

  return {
    async open(serving, asked) {
      const { signal } = asked
      const id = callId()
      const body = asked.form ? await encodeForm(asked.body) : { bytes: jsonOf(asked.body), type: 'application/json' }
      signal?.throwIfAborted()
      if (closed) throw closing()
      const headers = { 'content-type': body.type, ...asked.headers }
      const head = { v: WIRE_VERSION, callId: id, take: 1, endpoint: asked.endpoint, identity: CALLER, headers }
      const stream = new AnswerStream(head, body.bytes, String(asked.body['model']))
      const slot: ReportSlot = { report: null }
      const onAbort = (): void => stream.cancel('aborted', signal?.reason)
      signal?.addEventListener('abort', onAbort, { once: true })
      running.set(id, { cause: undefined, stream, slot, onCall: asked.onCall })
      if (running.size === 1) busy(true)
      serving.serve(stream, () => {
        signal?.removeEventListener('abort', onAbort)
        ended(id)
      })
      try {
        return { head: await stream.opened, stream, slot }
      } catch (thrown) {
        // From here the stack has the caller in it, not the router's socket.
        if (thrown instanceof TurnpikeError) Error.captureStackTrace(thrown)
        throw thrown
      }
    },
    booked(event) {
      const open = running.get(event.callId)
      const failure = failureOf(event, open?.cause)
      const report = reportOfEvent(event, failure)
      if (open !== undefined) {
        open.slot.report = report
        if (failure !== null) open.stream.failing(failure)
      }
      tell(report, [open?.onCall, onCall])
    },
    caused(id, cause) {
      const open = running.get(id)
      if (open !== undefined) open.cause = cause
    },
    get running() {
      return running.size
    },
    close() {
      closed = true
      for (const { stream } of running.values()) stream.cancel('closed', closing())
      if (running.size === 0) idle.resolve()
      return idle.promise
    },
  }
}

function failureOf({ error, callId: id, requestedModel, attempts }: UsageEvent, cause: unknown): TurnpikeError | null {
  if (error === undefined) return null
  const known = fromWire(error)
  known.cause ??= cause
  return new TurnpikeError(known, { callId: id, model: requestedModel, provider: attempts.at(-1)?.provider ?? null })
}

function closing(): TurnpikeError {
  return new TurnpikeError(new GatewayError('cancelled', 'The router was closed.'))
}

function jsonOf(body: Record<string, unknown>): Uint8Array {
  try {
    return Buffer.from(JSON.stringify(body))
  } catch (thrown) {
    throw new TurnpikeError(new GatewayError('bad_request', `The request is no JSON: ${(thrown as Error).message}`))
  }
}
