/**
 * What a client gets when a provider fails: every fault, and its outcome, in one table. `faults.test.ts` holds gateways to it, embedded and
 * clustered, for clients and providers of both protocols; `fault-table.test.ts` holds the README to it. Times are milliseconds.
 */

/** How a call ends for its client. */
export type Ending =
  /** The whole text, exactly. */
  | { kind: 'answer'; finish?: string }
  /** No answer, but a status and the error in the client's dialect. */
  | { kind: 'error'; status: number; class: string; retryAfter?: string }
  /** Part of the text, then an error event and no terminator. */
  | { kind: 'event'; status: number; class: string }

export interface Expected {
  ending: Ending
  /** Calls the provider sees, least and most. */
  calls: readonly [number, number]
  /** What the ledger has: usage as the provider reported it, as counted here, or none. */
  billed: 'reported' | 'estimated' | 'nothing'
  /** Ledger entries, where attempts before the last one said something too: these are estimates. */
  entries?: number
  /** The time limit that ends the call; null = none does. */
  deadline: number | null
  /** It takes at least so long: a wait the provider asked for. */
  least: number
}

export interface Fault {
  /** In the words of the table. */
  name: string
  /** Which deployments the call goes to: see `groups` in faults.test.ts. */
  group: 'plain' | 'refused' | 'unresolved' | 'tls' | 'pair'
  /** For the scripted provider; text may differ where providers word it differently. */
  script: string
  anthropicScript?: string
  streamScript?: string
  /** Limits of the call, sent as `x-litellm-*` headers; seconds. */
  retries: number
  timeout: number
  streamTimeout?: number
  /** Calls one after the other under one script id. */
  repeat?: number
  whole: Expected
  stream: Expected
  /** Where a provider's protocol makes a difference to streams. */
  anthropicStream?: Expected
}

/** Silence inside an answer before it is given up, in the gateways of the test. */
export const STALL = 1_000

const NOTHING = { billed: 'nothing', deadline: null, least: 0 } as const

function answer(calls = 1, changes: Partial<Expected> & { finish?: string } = {}): Expected {
  const { finish, ...rest } = changes
  return {
    ending: finish === undefined ? { kind: 'answer' } : { kind: 'answer', finish },
    calls: [calls, calls],
    billed: 'reported',
    deadline: null,
    least: 0,
    ...rest,
  }
}

function error(status: number, name: string, calls = 1, changes: Partial<Expected> & { retryAfter?: string } = {}): Expected {
  const { retryAfter, ...rest } = changes
  const ending: Ending = { kind: 'error', status, class: name, ...(retryAfter === undefined ? {} : { retryAfter }) }
  return { ending, calls: [calls, calls], ...NOTHING, ...rest }
}

function event(status: number, name: string, changes: Partial<Expected> = {}): Expected {
  return { ending: { kind: 'event', status, class: name }, calls: [1, 1], ...NOTHING, billed: 'estimated', ...changes }
}

type Row = Omit<Fault, 'group' | 'retries' | 'timeout' | 'whole' | 'stream'> &
  Partial<Pick<Fault, 'group' | 'retries' | 'timeout'>> &
  ({ whole: Expected; stream: Expected } | { both: Expected })

function fault({ group = 'plain', retries = 0, timeout = 20, ...row }: Row): Fault {
  const expected = 'both' in row ? { whole: row.both, stream: row.both } : { whole: row.whole, stream: row.stream }
  return { ...row, group, retries, timeout, ...expected }
}

export const FAULTS: readonly Fault[] = [
  fault({
    name: 'One 429 with `Retry-After` in seconds',
    script: 'fail=429x1,retry=1',
    retries: 1,
    both: answer(2, { least: 1_000 }),
  }),
  fault({
    name: 'One 429 with `Retry-After` as a date',
    script: 'fail=429x1,retrydate=1',
    retries: 1,
    both: answer(2, { least: 1_000 }),
  }),
  fault({
    name: '429 with a `Retry-After` beyond the deadline',
    script: 'fail=429,retry=30',
    retries: 2,
    timeout: 1,
    both: error(429, 'RateLimitError', 1, { deadline: 1_000, retryAfter: '30' }),
  }),
  fault({
    name: '429 that persists',
    script: 'fail=429,retryms=50',
    retries: 2,
    both: error(429, 'RateLimitError', 3, { retryAfter: '1' }),
  }),
  fault({ name: 'One 500', script: 'fail=500x1', retries: 1, both: answer(2) }),
  fault({
    name: '500 that persists',
    script: 'fail=500,retryms=50',
    retries: 1,
    both: error(500, 'InternalServerError', 2, { retryAfter: '1' }),
  }),
  fault({ name: 'One 503', script: 'fail=503x1', retries: 1, both: answer(2) }),
  fault({
    name: '503 that persists',
    script: 'fail=503,retryms=50',
    retries: 1,
    both: error(503, 'ServiceUnavailableError', 2, { retryAfter: '1' }),
  }),
  fault({ name: 'Connection refused', group: 'refused', script: '', both: error(500, 'APIConnectionError', 0) }),
  fault({ name: 'Connection reset before the head', script: 'fault=reset', both: error(500, 'APIConnectionError') }),
  fault({ name: 'One connection reset before the head', script: 'fault=resetx1', retries: 1, both: answer(2) }),
  fault({ name: 'Connection closed inside the head', script: 'fault=head', both: error(500, 'APIConnectionError') }),
  fault({ name: 'Something that is not HTTP', script: 'fault=junk', both: error(502, 'APIResponseValidationError') }),
  fault({
    name: 'Connection reset inside the body',
    script: 'fault=rst',
    whole: error(502, 'APIConnectionError', 1, { billed: 'estimated' }),
    stream: event(502, 'APIConnectionError'),
  }),
  fault({ name: 'Name that does not resolve (DNS)', group: 'unresolved', script: '', both: error(500, 'APIConnectionError', 0) }),
  fault({ name: 'TLS handshake that fails', group: 'tls', script: '', both: error(500, 'APIConnectionError', 0) }),
  fault({
    name: 'Accepts and never answers',
    script: 'fault=hang',
    timeout: 0.8,
    both: error(408, 'Timeout', 1, { deadline: 800 }),
  }),
  fault({
    name: 'Long wait for the first token, within the limit',
    script: 'latency=500',
    streamScript: 'first=500',
    timeout: 5,
    streamTimeout: 2,
    both: answer(1, { least: 500 }),
  }),
  fault({
    name: 'Longer wait for the first token than allowed',
    script: 'latency=4000',
    streamScript: 'first=4000',
    timeout: 0.8,
    streamTimeout: 0.6,
    whole: error(408, 'Timeout', 1, { deadline: 800 }),
    stream: error(408, 'Timeout', 1, { deadline: 600 }),
  }),
  fault({
    name: 'One stall before the first token',
    script: 'fault=stallx1,after=0',
    retries: 1,
    // A whole answer has begun when its head is there.
    whole: answer(2, { least: STALL, entries: 2 }),
    stream: answer(2, { least: STALL }),
  }),
  fault({
    name: 'Stall in the middle of the answer',
    script: 'fault=stall',
    whole: error(408, 'Timeout', 1, { deadline: STALL, billed: 'estimated' }),
    stream: event(408, 'Timeout', { deadline: STALL }),
  }),
  fault({
    name: 'Connection closed in the middle of the answer',
    script: 'fault=cut',
    whole: error(502, 'APIConnectionError', 1, { billed: 'estimated' }),
    stream: event(502, 'APIConnectionError'),
  }),
  fault({
    name: 'Clean end of the HTTP message, the rest of the answer missing',
    script: 'fault=truncate',
    whole: error(502, 'APIResponseValidationError', 1, { billed: 'estimated' }),
    stream: event(502, 'APIConnectionError'),
  }),
  fault({
    name: 'Malformed chunk or body',
    script: 'fault=malformed',
    whole: error(502, 'APIResponseValidationError', 1, { billed: 'estimated' }),
    stream: event(502, 'APIResponseValidationError'),
  }),
  fault({
    name: 'No `[DONE]` after the finish reason; no `message_stop`',
    script: 'fault=no-done',
    both: answer(),
    anthropicStream: event(502, 'APIConnectionError', { billed: 'reported' }),
  }),
  fault({
    name: 'Error event, or error object, inside a 200',
    script: 'fault=error',
    whole: error(500, 'InternalServerError'),
    stream: event(500, 'InternalServerError'),
  }),
  fault({
    name: 'One error event before the first token',
    script: 'fault=errorx1,after=0',
    retries: 1,
    both: answer(2),
  }),
  fault({
    name: 'Empty 200',
    script: 'fault=empty',
    retries: 1,
    both: error(502, 'APIResponseValidationError', 2),
  }),
  fault({
    name: 'HTML instead of JSON',
    script: 'fault=html',
    retries: 1,
    both: error(502, 'APIResponseValidationError', 2),
  }),
  fault({
    name: 'Context length exceeded',
    script: 'fail=400,code=context_length_exceeded,message=maximum context length is 8192 tokens',
    anthropicScript: 'fail=400,message=prompt is too long: 210000 tokens > 200000 maximum',
    retries: 2,
    both: error(400, 'ContextWindowExceededError'),
  }),
  fault({
    name: 'Content filter before the answer',
    script: 'fail=400,code=content_policy_violation,message=rejected as a result of our safety system',
    anthropicScript: 'fail=400,message=Output blocked by content filtering policy',
    retries: 2,
    both: error(400, 'ContentPolicyViolationError'),
  }),
  fault({
    name: 'Content filter in the middle of the answer',
    script: 'finish=content_filter',
    both: answer(1, { finish: 'content_filter' }),
  }),
  fault({
    name: 'Unsupported parameter',
    script: 'fail=400,code=unsupported_parameter,message=not supported with this model',
    anthropicScript: 'fail=400,message=thinking: not supported by this model',
    retries: 2,
    both: error(400, 'BadRequestError'),
  }),
  fault({ name: 'Wrong credentials, one deployment', script: 'fail=401', retries: 2, both: error(401, 'AuthenticationError') }),
  fault({
    name: 'Wrong credentials, another deployment has right ones',
    group: 'pair',
    script: '',
    retries: 2,
    both: answer(1, { calls: [1, 2] }),
  }),
  fault({
    name: 'Flapping upstream: every second call fails (three calls)',
    script: 'fail=503/2,retryms=50',
    retries: 1,
    repeat: 3,
    both: answer(6),
  }),
  fault({ name: 'Slow drip of bytes', script: 'chunks=4,write=9,drip=4', both: answer() }),
  fault({
    name: 'Slow drip of bytes past the deadline',
    script: 'chunks=64,write=9,drip=25',
    streamScript: 'chunks=64,write=60,drip=10',
    timeout: 0.8,
    whole: error(408, 'Timeout', 1, { deadline: 800, billed: 'estimated' }),
    stream: event(408, 'Timeout', { deadline: 800 }),
  }),
  fault({ name: 'Enormous single chunk (5 MB)', script: 'chunks=1,size=5m', both: answer() }),
  fault({
    name: 'The same chunk 100 times: a model that loops',
    script: 'text=same,chunks=300',
    whole: answer(),
    stream: event(500, 'InternalServerError'),
  }),
  fault({ name: 'Duplicate chunks', script: 'fault=dup', both: answer() }),
  fault({ name: 'Usage missing', script: 'fault=no-usage,chunks=12', both: answer(1, { billed: 'estimated' }) }),
  fault({ name: 'Usage zero', script: 'prompt=0,completion=0,chunks=12', both: answer(1, { billed: 'estimated' }) }),
  fault({
    name: 'Provider that ignores an abort',
    script: 'fault=deaf,latency=2500',
    streamScript: 'fault=deaf,chunks=120,interval=20',
    timeout: 0.8,
    whole: error(408, 'Timeout', 1, { deadline: 800 }),
    stream: event(408, 'Timeout', { deadline: 800 }),
  }),
]

/** The table as the README has it. */
export function markdown(): string {
  const head = ['Fault', 'Outcome, whole', 'Outcome, streamed', 'Provider calls', 'Billed']
  const rows = FAULTS.map(({ name, whole, stream, anthropicStream }) => {
    const streamed = anthropicStream === undefined ? told(stream) : `${told(stream)}; Anthropic: ${told(anthropicStream)}`
    return [name, told(whole), streamed, same(callsOf(whole), callsOf(stream)), same(BILLED[whole.billed], BILLED[stream.billed])]
  })
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)
  return lines.join('\n')
}

const BILLED = { reported: 'as reported', estimated: 'estimated', nothing: 'nothing' } as const

function told({ ending, deadline, calls }: Expected): string {
  const by = deadline === null ? '' : ', at the deadline at the latest'
  if (ending.kind === 'error') return `${ending.status} \`${ending.class}\`${by}`
  if (ending.kind === 'event') return `the text so far, then an error event (${ending.status} \`${ending.class}\`)${by}`
  const finish = ending.finish === undefined ? '' : `, finish reason \`${ending.finish}\``
  return `complete answer${finish}${calls[0] > 1 ? ', after a retry' : ''}`
}

function callsOf({ calls: [least, most] }: Expected): string {
  return least === most ? String(least) : `${least} or ${most}`
}

function same(whole: string, stream: string): string {
  return whole === stream ? whole : `${whole}; streamed: ${stream}`
}
