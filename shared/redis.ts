import { Redis } from 'ioredis'
import { type Clock, systemClock, type Timer } from './clock.ts'
import { GatewayError } from './errors.ts'
import type { Log } from './log.ts'

export interface RedisOptions {
  /** `redis://user:password@host:port/database`, or `rediss://` for TLS. The password is never logged and never part of an error. */
  url: string
  log: Log
  clock?: Clock
  /** Milliseconds without an answer to what was sent after which the connection is given up and what waits fails; default 2 s. */
  commandLimit?: number
  /** Milliseconds until a connection attempt is given up; default 2 s. */
  connectLimit?: number
}

/** One connection to one Redis. It comes back by itself; while it is away nothing waits, everything fails at once. */
export interface RedisConnection {
  /**
   * Rejects with GatewayError `counters_away` when the server is away or cannot serve (loading, read-only, out of memory), with
   * RedisReplyError when it says no. Commands of one turn of the event loop leave in one write.
   */
  call(command: string, ...args: RedisArgument[]): Promise<unknown>
  /** `EVALSHA`; rejects like `call`, with RedisReplyError `NOSCRIPT` when the server does not know the script. */
  run(sha: string, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown>
  /** The same, with text in the answer as bytes. */
  runBinary(sha: string, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown>
  readonly ready: boolean
  /** Runs each time a connection stands, at once if one does. Returns what ends that. */
  onReady(handler: () => void): () => void
  /** Lets what was sent end. Never rejects. */
  close(): Promise<void>
}

export type RedisArgument = string | number | Buffer

/** The server said no. `code` is the first word of its answer: `NOSCRIPT`, `WRONGTYPE`, `ERR`, … */
export class RedisReplyError extends Error {
  readonly code: string

  constructor(message: string) {
    super(message)
    this.name = 'RedisReplyError'
    this.code = message.split(' ', 1)[0] ?? ''
  }
}

const COMMAND_LIMIT = 2_000
const CONNECT_LIMIT = 2_000
/** Milliseconds between tries to reach the server: 50, 100, … up to this. */
const RECONNECT_PAUSE_MAX = 1_000
/** Milliseconds after which whoever was refused may try again. */
const RETRY_AFTER = 1_000
/** Milliseconds for a last word to the server when closing. */
const CLOSE_LIMIT = 500
/** Answers of a server that is there and cannot serve now. */
const AWAY = new Set([
  'LOADING',
  'READONLY',
  'MASTERDOWN',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'BUSY',
  'OOM',
  'MISCONF',
  'NOREPLICAS',
  'UNKILLABLE',
])

/**
 * Connects in the background, so making it never fails for a server that is away. Throws GatewayError `bad_request` when the URL
 * cannot be read.
 */
export function createRedis(options: RedisOptions): RedisConnection {
  const { log } = options
  const clock = options.clock ?? systemClock
  const address = addressOf(options.url)
  const redis = new Redis({
    ...address,
    // RESP2: nothing here needs the types of RESP3, and its HELLO repeats the password in the errors of servers without it.
    protocol: 2,
    connectionName: 'turnpike',
    connectTimeout: options.connectLimit ?? CONNECT_LIMIT,
    // Answers come in order, so one timer for the connection does for all commands: a timer each costs more than the command.
    socketTimeout: options.commandLimit ?? COMMAND_LIMIT,
    retryStrategy: (tries) => Math.min(RECONNECT_PAUSE_MAX, 50 * 2 ** Math.min(tries - 1, 10)),
    // A server demoted by a failover answers READONLY for ever; the address leads to the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // With 0, what waits fails when the connection closes. Otherwise it would never be answered, since nothing is sent again.
    maxRetriesPerRequest: 0,
    enableAutoPipelining: false,
  })
  const handlers = new Set<() => void>()
  let away = false
  let corked: Redis['stream'] | null = null
  let closed: Promise<void> | null = null

  redis.on('ready', () => {
    log.info({ host: address.host, port: address.port }, away ? 'Redis is back' : 'connected to Redis')
    away = false
    for (const handler of handlers) handler()
  })
  redis.on('error', (error) => complain(reasonOf(error, address.password)))
  redis.on('close', () => complain('the connection was closed'))

  /** Once per outage. */
  function complain(reason: string): void {
    if (away || closed !== null) return
    away = true
    log.warn({ host: address.host, port: address.port, reason }, 'Redis is away; trying to reach it again')
  }

  const uncork = (): void => {
    corked?.uncork()
    corked = null
  }

  /** A write is a system call, dearer than the command in it: all commands of a turn share one. */
  function cork(): void {
    if (corked !== null || redis.stream === undefined) return
    corked = redis.stream
    corked.cork()
    setImmediate(uncork)
  }

  function send(binary: boolean, command: string, args: RedisArgument[]): Promise<unknown> {
    if (redis.status !== 'ready' || closed !== null) return Promise.reject(awayError())
    cork()
    const sent = binary ? redis.callBuffer(command, args) : redis.call(command, args)
    return sent.then(undefined, refuse)
  }

  return {
    call: (command, ...args) => send(false, command, args),
    run: (sha, keys, args) => send(false, 'EVALSHA', [sha, keys.length, ...keys, ...args]),
    runBinary: (sha, keys, args) => send(true, 'EVALSHA', [sha, keys.length, ...keys, ...args]),
    get ready() {
      return redis.status === 'ready' && closed === null
    },
    onReady(handler) {
      handlers.add(handler)
      if (redis.status === 'ready') handler()
      return () => void handlers.delete(handler)
    },
    close() {
      closed ??= goodbye(redis, clock)
      return closed
    },
  }
}

async function goodbye(redis: Redis, clock: Clock): Promise<void> {
  if (redis.status === 'ready') {
    let timer: Timer | null = null
    const limit = new Promise<void>((resolve) => {
      timer = clock.after(CLOSE_LIMIT, resolve)
    })
    await Promise.race([redis.quit().catch(() => undefined), limit])
    ;(timer as Timer | null)?.cancel()
  }
  redis.disconnect()
}

function awayError(cause?: Error): GatewayError {
  return new GatewayError(
    'counters_away',
    undefined,
    cause === undefined ? { retryAfter: RETRY_AFTER } : { retryAfter: RETRY_AFTER, cause },
  )
}

function refuse(error: unknown): never {
  throw readable(error)
}

/** What the server said, or `counters_away` when nobody knows whether the server got it. Never what the library threw: that holds the arguments. */
function readable(error: unknown): GatewayError | RedisReplyError {
  const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : 'unknown'
  if (!(error instanceof Error) || error.name !== 'ReplyError') return awayError(new Error(message))
  const reply = new RedisReplyError(message)
  return AWAY.has(reply.code) ? awayError(reply) : reply
}

interface Address {
  host: string
  port: number
  username?: string
  password?: string
  db?: number
  tls?: { rejectUnauthorized?: boolean }
}

/** The parts of a Redis URL, taken apart here so that no library error can repeat it. */
function addressOf(text: string): Address {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new GatewayError('bad_request', 'The Redis URL cannot be read; expected redis://user:password@host:port/database.')
  }
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') {
    throw new GatewayError('bad_request', 'The Redis URL must start with redis:// or rediss://.')
  }
  const database = url.pathname.replace(/^\//, '') || url.searchParams.get('db') || '0'
  if (!/^\d{1,5}$/.test(database)) throw new GatewayError('bad_request', 'The database in the Redis URL must be a number.')
  const address: Address = {
    host: url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1',
    port: Number(url.port || 6379),
    db: Number(database),
  }
  if (url.username !== '') address.username = decodeURIComponent(url.username)
  if (url.password !== '') address.password = decodeURIComponent(url.password)
  // `ssl_cert_reqs=none` is how redis-py, which LiteLLM uses, is told to accept any certificate.
  if (url.protocol === 'rediss:')
    address.tls = url.searchParams.get('ssl_cert_reqs') === 'none' ? { rejectUnauthorized: false } : {}
  return address
}

/** What may be logged about a failure: its first line, without the password should a server repeat it. */
function reasonOf(error: unknown, password: string | undefined): string {
  const text = error instanceof Error ? (error.message.split('\n')[0] ?? '') : 'unknown'
  return password === undefined || password === '' ? text : text.replaceAll(password, '[redacted]')
}
