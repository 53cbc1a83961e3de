import type { CallMessage, StartHead } from '../../proto/call.ts'
import type { Identity } from '../../proto/identity.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, OutgoingStream, ReplySink } from '../../shared/bus/bus.ts'
import type { Codec } from '../../shared/bus/codec.ts'
import type { Clock } from '../../shared/clock.ts'
import { fromWire } from '../../shared/errors.ts'
import { callId } from '../../shared/ids.ts'
import type { Log } from '../../shared/log.ts'
import { bookUnsettled } from '../../shared/unsettled.ts'
import type { CallPlan } from './plan.ts'
import { GREETING } from './provider.ts'

/**
 * How a call ended, as its client saw it: `refused` by a limit, `left` by the client, `cut` in the middle of its answer, or `failed`
 * without one.
 */
export type CallEnd = 'answered' | 'refused' | 'left' | 'cut' | 'failed'

/** One call that was made; `reason`: type of the error where there was one. */
export interface MadeCall {
  callId: string
  end: CallEnd
  reason: string | null
  /** A router has taken it, as far as the client knows: then it is in the ledger, whatever became of it. */
  taken: boolean
}

export interface LoadDeps {
  bus: Bus
  codec: Codec
  clock: Clock
  log: Log
}

export interface LoadOptions {
  identity: Identity
  model: string
  plans: readonly CallPlan[]
  concurrency: number
  /** Milliseconds after which no further call is made. */
  limit: number
  /** Told of every call before it is made. */
  expect(marker: string, plan: CallPlan): void
  /** Aborted: no further call is made. */
  signal: AbortSignal
}

/** Milliseconds for one call: two slow attempts, and the time a busy machine takes. */
const CALL_DEADLINE = 60_000
/** Milliseconds in which every router has heard of the model that the load asks for, and between tries until then. */
const SPREAD_LIMIT = 10_000
const SPREAD_PAUSE = 100
/** Retries the calls ask for, whatever the configuration says: the provider fails once where it does. */
const RETRIES = 2
/** Characters of an answer that are kept: what says how it ended is at its end, an error is short. */
const KEPT = 2_048
/** Types of errors that say a limit was reached. */
const LIMITS: ReadonlySet<string> = new Set(['budget_exceeded', 'rate_limit_error'])

/** Makes the calls the way an edge does, `concurrency` at a time. Resolves when the last has ended; never rejects. */
export async function runLoad(deps: LoadDeps, options: LoadOptions): Promise<MadeCall[]> {
  const { clock } = deps
  const { plans, concurrency, limit, signal } = options
  const startedAt = clock.monotonic()
  const elapsed = (): number => clock.monotonic() - startedAt
  const made: MadeCall[] = []
  let next = 0

  async function lane(): Promise<void> {
    for (;;) {
      const plan = plans[next]
      if (plan === undefined || signal.aborted || elapsed() > limit) return
      next += 1
      let call = await makeCall(deps, options, plan)
      while (call.unknownModel && elapsed() < SPREAD_LIMIT && !signal.aborted) {
        await new Promise<void>((resolve) => void clock.after(SPREAD_PAUSE, resolve))
        call = await makeCall(deps, options, plan)
      }
      made.push(call.made)
    }
  }

  await Promise.all(Array.from({ length: Math.min(concurrency, plans.length) }, lane))
  return made
}

/** Opens one call and tells how it ended. */
function makeCall(
  deps: LoadDeps,
  { identity, model, expect }: LoadOptions,
  plan: CallPlan,
): Promise<{ made: MadeCall; unknownModel: boolean }> {
  const { bus, clock } = deps
  const id = callId()
  expect(id, plan)
  const head: CallMessage = { v: WIRE_VERSION, callId: id, take: 1, endpoint: 'acompletion', identity, headers: {} }
  const body = Buffer.from(JSON.stringify(requestBody(model, id, plan)))
  return new Promise((resolve) => {
    let over = false
    const client = createClient(deps, plan, {
      end(how, reason, unknownModel) {
        if (over) return
        over = true
        resolve({ made: { callId: id, end: how, reason, taken: client.taken }, unknownModel })
      },
      consumed: (bytes) => stream.consumed(bytes),
      leave,
    })
    const stream: OutgoingStream = bus.open(bus.subjects.call('default'), { id, head, body, deadline: CALL_DEADLINE }, client)
    function leave(): void {
      if (over) return
      over = true
      stream.cancel('client closed the connection')
      resolve({ made: { callId: id, end: 'left', reason: null, taken: client.taken }, unknownModel: false })
    }
    if (plan.leaveAfter === null) return
    if (!plan.stream) clock.after(plan.leaveAfter, leave)
    else if (plan.leaveAfter === 0) leave()
  })
}

/** Reads an answer as far as its end must be known, and leaves when the plan says so. */
function createClient(
  deps: LoadDeps,
  plan: CallPlan,
  call: { end(how: CallEnd, reason: string | null, unknownModel: boolean): void; consumed(bytes: number): void; leave(): void },
): ReplySink & { readonly taken: boolean } {
  let answer: StartHead | null = null
  let taken = false
  let chunks = 0
  let size = 0
  let tail = ''
  return {
    get taken() {
      return taken
    },
    accept() {
      taken = true
    },
    start(head) {
      taken = true
      answer = head
    },
    data(bytes) {
      call.consumed(bytes.length)
      tail = (tail + Buffer.from(bytes).toString('latin1')).slice(-KEPT)
      chunks += 1
      size += bytes.length
      const good = (answer?.status ?? 200) < 400
      if (plan.stream && plan.leaveAfter !== null && good && chunks >= plan.leaveAfter) call.leave()
    },
    end() {
      const status = answer?.status ?? 200
      const told = errorIn(tail)
      if (status >= 400) {
        const how = LIMITS.has(told?.type ?? '') ? 'refused' : 'failed'
        call.end(how, told?.type ?? String(status), isUnknownModel(told?.message))
      } else if (plan.stream && !tail.includes('[DONE]')) call.end('cut', told?.type ?? 'no end', false)
      else call.end('answered', null, false)
    },
    error(error) {
      if (error.code === 'lost_router' && answer?.booking !== undefined)
        void bookUnsettled(deps, answer.booking, size, fromWire(error))
      call.end(answer === null ? 'failed' : 'cut', error.code, false)
    },
  }
}

/** Looks like any client's; the provider and the ledger know the call by its marker. */
function requestBody(model: string, marker: string, { stream, maxTokens }: CallPlan): object {
  return {
    model,
    messages: [{ role: 'user', content: `${GREETING}${marker}` }],
    max_tokens: maxTokens,
    num_retries: RETRIES,
    metadata: { turnpike_prove: marker },
    ...(stream ? { stream: true } : {}),
  }
}

/** The error object in an answer, or at the end of a stream. */
function errorIn(text: string): { type: string; message: string } | null {
  const at = text.lastIndexOf('{"error"')
  if (at < 0) return null
  try {
    const { error } = JSON.parse(text.slice(at).split('\n')[0] as string) as { error: { type?: unknown; message?: unknown } }
    return { type: String(error.type), message: String(error.message) }
  } catch {
    return null
  }
}

/** The one refusal that ends by itself: routers hear of new models one after another. Its type is that of other bad requests. */
function isUnknownModel(message: string | undefined): boolean {
  return message?.includes('Invalid model name') === true
}
