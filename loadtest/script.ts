/**
 * What the scripted provider shall do with one call: one grammar, `key=value,key=value`, in any of three places. A gateway forwards
 * few headers, so the script can also ride where every gateway lets it through:
 *
 * | place | example | for |
 * |---|---|---|
 * | model name | `script:latency=50,chunks=64,interval=20` | one deployment always behaves like this |
 * | anywhere in the body's text | `[[upstream id=a1,fail=503x2]]` in a message, `user`, metadata … | one call |
 * | the same for one site only | `[[upstream@west fail=500]]`: calls that came to `/@west/v1/…` | failover between deployments |
 * | header | `x-upstream-script: chunks=3` | direct calls |
 *
 * Later places win key by key: model, then body in the order of its markers, then header. Numbers take `k` and `m` (1024, 1024²).
 * Values are percent-decoded (`message=too%20long%2C really`); they hold no comma, no `]]` and, in a body, nothing JSON escapes.
 * An unknown key or value is answered with status 400 and the reason: a typing mistake must not turn a fault test into a happy path.
 */

/** What goes wrong. Several are joined with `+`. */
export const FAULTS = {
  // Before any answer.
  reset: 'RST instead of an answer',
  close: 'FIN instead of an answer',
  hang: 'never an answer, connection open',
  head: 'half of the head, then FIN',
  junk: 'bytes that are not HTTP, then FIN',
  // Instead of the answer, status 200.
  empty: 'an empty body',
  html: 'an HTML page',
  // Inside the answer, at text chunk `after` (streams) or in the middle of the body (others).
  cut: 'FIN inside the body',
  rst: 'RST inside the body',
  stall: 'nothing more, connection open',
  truncate: 'a clean end of the HTTP message, the rest missing',
  malformed: 'a chunk, or the body, that is not JSON',
  error: 'an error event or error body under status 200',
  'no-done': 'no terminator: [DONE], message_stop',
  dup: 'each text chunk twice',
  'no-usage': 'no usage',
  // After the client left.
  deaf: 'goes on generating (and counting) when the connection closes',
} as const

export type Fault = keyof typeof FAULTS

export interface Script {
  /** Names the call: what was served is kept under it (`served(id)`), and `xN`/`@N` count per id. Null: nothing is kept. */
  id: string | null
  /** Milliseconds before the head of the answer. */
  latency: number
  /** Milliseconds between the head and the first text chunk of a stream. */
  first: number
  /** Text chunks of a stream; a whole answer has `chunks` × `size` characters. */
  chunks: number
  /** Characters of text per chunk. */
  size: number
  /** Total characters of text; sets `chunks` from it. 0: not set. */
  bytes: number
  /** Milliseconds between text chunks. */
  interval: number
  /** Most bytes per socket write; with `drip` between two writes. 0: no cutting. */
  write: number
  /** Milliseconds between the writes that `write` makes; 0 is one turn of the event loop. */
  drip: number
  /** Chunks of reasoning text before the answer. */
  think: number
  /** Tool calls after the text, each `lookup_<i>` with `toolsize` characters of arguments in as many chunks as `size` needs. */
  tools: number
  toolsize: number
  /** Usage as reported; -1 for completion means one token per chunk. */
  prompt: number
  completion: number
  cached: number
  written: number
  reasoning: number
  /** Finish reason in OpenAI words; empty: by content. */
  finish: string
  /**
   * `ascii`; `unicode`: two-, three- and four-byte characters; `stamp`: each chunk of a stream is the machine's monotonic time in
   * nanoseconds at its write, sixteen digits (sets `size`), so that a client on the same machine sees the delay of every chunk;
   * `same`: every chunk equals the one before; `own:<name>`: text that no other name has, each word numbered.
   */
  text: string
  /** `length` or `chunked` framing of whole answers. */
  framing: string
  /**
   * Status of a scripted error; 0: none. `fail=503`, `fail=503x2` (first two calls of the id), `fail=503@3` (the third only),
   * `fail=503/2` (every second one, from the first).
   */
  fail: number
  /**
   * Error code, text and retry-after seconds of a scripted error; `retryms` is the retry-after-ms header, `retrydate` seconds written as a
   * date in retry-after, beside the `date` it is to be held against.
   */
  code: string
  message: string
  retry: string
  retryms: string
  retrydate: number
  /** Faults; the same `xN`, `@N` and `/N` as `fail`, at the end. */
  faults: Set<Fault>
  /** Text chunks before a fault inside an answer; -1: half of them. */
  after: number
  /** Base64 of the exact body, under status 200 (or `fail`), as `type`. */
  body: string
  type: string
  /** Base64 of the exact bytes on the connection, then FIN. */
  raw: string
}

const DEFAULTS: Readonly<Script> = {
  id: null,
  latency: 0,
  first: 0,
  chunks: 8,
  size: 4,
  bytes: 0,
  interval: 0,
  write: 0,
  drip: 0,
  think: 0,
  tools: 0,
  toolsize: 8,
  prompt: 11,
  completion: -1,
  cached: 0,
  written: 0,
  reasoning: 0,
  finish: '',
  text: 'ascii',
  framing: 'length',
  fail: 0,
  code: '',
  message: '',
  retry: '',
  retryms: '',
  retrydate: 0,
  faults: new Set(),
  after: -1,
  body: '',
  type: '',
  raw: '',
}

/** The script cannot be read. */
export class ScriptError extends Error {}

const MARKER = /\[\[upstream(?:@([\w-]+))? ([^\]]*)\]\]/g

/** Script texts of a call, weakest first. `site` is the `@name` of the path, or empty. */
export function scriptText(model: string, body: string, header: string | undefined, site: string): string {
  const parts: string[] = []
  if (model.startsWith('script:')) parts.push(model.slice('script:'.length))
  if (body.includes('[[upstream')) {
    for (const [, only, text] of body.matchAll(MARKER)) {
      if (only === undefined || only === site) parts.push(text ?? '')
    }
  }
  if (header !== undefined) parts.push(header)
  return parts.join(',')
}

/**
 * Reads a script. `attempt(key)` counts calls, from 1, and is asked once, only when the script limits a failure to some of them.
 * Throws ScriptError.
 */
export function parseScript(text: string, attempt: (key: string) => number): Readonly<Script> {
  if (text === '') return DEFAULTS
  const script: Script = { ...DEFAULTS, faults: new Set() }
  let count = 0
  const applies = (limit: string): boolean => {
    if (limit === '') return true
    if (count === 0) count = attempt(/(?:^|,)\s*id=([^,]*)/.exec(text)?.[1] ?? text)
    const number = Number(limit.slice(1))
    if (limit.startsWith('/')) return count % number === 1
    return limit.startsWith('x') ? count <= number : count === number
  }
  for (const pair of text.split(',')) {
    if (pair.trim() === '') continue
    const equals = pair.indexOf('=')
    const key = pair.slice(0, equals < 0 ? undefined : equals).trim()
    set(script, key, equals < 0 ? '' : decode(pair.slice(equals + 1).trim()), applies)
  }
  if (script.text === 'stamp') script.size = 16
  if (script.bytes > 0) script.chunks = Math.ceil(script.bytes / Math.max(1, script.size))
  return script
}

function set(script: Script, key: string, value: string, applies: (limit: string) => boolean): void {
  if (key === 'fail') {
    const match = /^(\d{1,3})((?:[x@/]\d+)?)$/.exec(value)
    if (match === null) throw new ScriptError(`fail=${value} is not a status`)
    script.fail = applies(match[2] ?? '') ? Number(match[1]) : 0
  } else if (key === 'fault') {
    const match = /^([a-z+-]*?)((?:[x@/]\d+)?)$/.exec(value)
    if (match === null) throw new ScriptError(`fault=${value} is not a list of faults`)
    const faults = match[1] === '' ? [] : (match[1] ?? '').split('+')
    for (const fault of faults) if (!(fault in FAULTS)) throw new ScriptError(`no fault is called ${fault}`)
    script.faults = new Set(applies(match[2] ?? '') ? (faults as Fault[]) : [])
  } else if (!Object.hasOwn(DEFAULTS, key) || key === 'faults') {
    throw new ScriptError(`no key is called ${key}`)
  } else if (typeof DEFAULTS[key as keyof Script] === 'number') {
    Object.assign(script, { [key]: amount(key, value) })
  } else {
    Object.assign(script, { [key]: value })
  }
}

function amount(key: string, value: string): number {
  const match = /^(-?\d+(?:\.\d+)?)([km]?)$/.exec(value)
  if (match === null) throw new ScriptError(`${key}=${value} is not a number`)
  return Number(match[1]) * (match[2] === 'k' ? 1024 : match[2] === 'm' ? 1024 * 1024 : 1)
}

function decode(value: string): string {
  if (!value.includes('%')) return value
  try {
    return decodeURIComponent(value)
  } catch {
    throw new ScriptError(`${value} is not percent-encoded`)
  }
}
