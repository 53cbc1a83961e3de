import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createCodec } from '../../shared/bus/codec.ts'
import { GatewayError } from '../../shared/errors.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { mutateBytes, type Random } from './mutate.ts'
import type { Case, Session, Target } from './target.ts'

const CONFIG = 'model_list: [{model_name: mock, litellm_params: {model: mock/mock}}]\n'
/** A plain call is made after so many messages, and may take so many milliseconds and tries: a lie about who lives is believed for a while. */
const CALL_EVERY = 20
const CALL_LIMIT = 4000
const TRIES = 4
const PAGE = 4096
/** Milliseconds the server may take to have read what it was sent. */
const SETTLE_LIMIT = 3000
/** Messages overheard that are kept to be changed. */
const HEARD_MAX = 400

/** Messages of a client that has the cluster's credentials and speaks nonsense: those it overheard, changed, and others. */
export const bus: Target = {
  name: 'bus',
  about: "msgpack messages and frames on a cluster's NATS subjects, from a client with its credentials",
  deadline: 60_000,
  inProcess: false,
  memoryLimit: 250 * 1024 * 1024,
  async open({ databaseUrl }): Promise<Session> {
    const directory = mkdtempSync(join(tmpdir(), 'turnpike-fuzz-bus-'))
    const configFile = join(directory, 'config.yaml')
    writeFileSync(configFile, CONFIG)
    const lines: string[] = []
    const { PATH, HOME, NATS_SERVER_BIN } = process.env
    const cluster = await startCluster({
      configFile,
      // A forged call whose body never comes runs until its deadline, and a router that is to end waits for what runs: 15 minutes.
      env: { PATH, HOME, NATS_SERVER_BIN, TURNPIKE_DRAIN_TIMEOUT: '5' },
      ports: [0],
      routers: 1,
      host: '127.0.0.1',
      dataDirectory: join(directory, 'data'),
      ...(databaseUrl === null ? { postgres: { fsync: 'off' } } : { databaseUrl }),
      write: (line) => void lines.push(line),
    })
    const client = await connectNats(cluster.natsUrl)
    // Something worth overhearing: a call, a stream, management.
    for (const stream of [false, true, true]) await call(cluster, stream)
    await fetch(`${cluster.urls[0]}/key/list`, { headers: { authorization: `Bearer ${cluster.masterKey}` } }).then((answer) =>
      answer.text(),
    )
    await client.settled()
    let count = 0
    return {
      make: (random) => makeCase(client.heard, random),
      async run(one) {
        const wrong = decoded(one.body)
        if (wrong !== null) return wrong
        const { subject, reply } = one.head as { subject: string; reply: string | null }
        client.publish(client.placed(subject), reply === null ? null : client.placed(reply), one.body)
        count += 1
        if (count % CALL_EVERY !== 1) return unwell(cluster, lines)
        await client.settled()
        return unwell(cluster, lines) ?? (await answers(cluster))
      },
      memory: async () => cluster.members().reduce((sum, { pid }) => sum + residentOf(pid), 0),
      async check() {
        await client.settled()
        return [unwell(cluster, lines), await answers(cluster)].filter((one) => one !== null)
      },
      async close() {
        client.close()
        await cluster.stop()
        rmSync(directory, { recursive: true, force: true })
      },
    }
  },
}

const codec = createCodec()

/** The readers of messages themselves: a value or a GatewayError. */
function decoded(bytes: Uint8Array): string | null {
  for (const read of [codec.decode, codec.decodeFrame, codec.decodeLarge]) {
    try {
      read(bytes)
    } catch (error) {
      if (!(error instanceof GatewayError)) return `${read.name} threw ${String((error as Error).stack).slice(0, 400)}`
    }
  }
  return null
}

function unwell(cluster: Cluster, lines: string[]): string | null {
  const dead = cluster.members().find(({ alive }) => !alive)
  if (dead !== undefined) return `the ${dead.role} died: ${lines.slice(-14).join('\n').slice(0, 1500)}`
  const told = lines.splice(0)
  const secret = told.find((line) => line.includes(cluster.masterKey))
  if (secret !== undefined) return 'the master key is in a log'
  const fatal = told.find((line) => /"level":60|[Uu]nhandled|uncaught/.test(line))
  return fatal === undefined ? null : `logged: ${fatal.slice(0, 800)}`
}

async function answers(cluster: Cluster): Promise<string | null> {
  let last = ''
  for (let tries = 0; tries < TRIES; tries += 1) {
    last = await call(cluster, tries % 2 === 1)
    if (last === '') return null
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
  return `plain calls are not answered any more: ${last}`
}

/** Empty when it is answered. */
async function call(cluster: Cluster, stream: boolean): Promise<string> {
  try {
    const response = await fetch(`${cluster.urls[0]}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${cluster.masterKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'mock', stream, messages: [{ role: 'user', content: 'Still there?' }] }),
      signal: AbortSignal.timeout(CALL_LIMIT),
    })
    const text = await response.text()
    return response.status === 200 && (!stream || text.includes('[DONE]')) ? '' : `${response.status} ${text.slice(0, 200)}`
  } catch (error) {
    return String(error)
  }
}

/** Bytes of memory a process has; 0 where that cannot be told. */
function residentOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE
  } catch {
    return 0
  }
}

interface Message {
  subject: string
  reply: string | null
  payload: Uint8Array
}

interface NatsClient {
  readonly heard: readonly Message[]
  publish(subject: string, reply: string | null, payload: Uint8Array): void
  /** A subject with the ids of this cluster in the places of those it was kept with. */
  placed(subject: string): string
  /** The server has taken everything that was published. */
  settled(): Promise<void>
  close(): void
}

/** NATS's own protocol by hand (https://docs.nats.io/reference/reference-protocols/nats-protocol): a library would send nothing wrong. */
async function connectNats(address: string): Promise<NatsClient> {
  const { hostname, port, username, password } = new URL(address)
  const socket: Socket = connect({ host: hostname, port: Number(port) })
  const heard: Message[] = []
  const ids = new Map<string, string>()
  let waiting: (() => void)[] = []
  let held = Buffer.alloc(0)
  socket.on('error', () => undefined)
  socket.on('data', (data) => {
    held = Buffer.concat([held, data])
    for (;;) {
      const end = held.indexOf('\r\n')
      if (end < 0) return
      const [verb = '', subject = '', , ...rest] = held.toString('utf8', 0, end).split(' ')
      if (verb === 'MSG') {
        const length = Number(rest.at(-1))
        if (held.length < end + 4 + length) return
        const reply = rest.length > 1 ? (rest[0] as string) : null
        const payload = Uint8Array.from(held.subarray(end + 2, end + 2 + length))
        learn(ids, subject)
        if (heard.length < HEARD_MAX) heard.push({ subject, reply, payload })
        held = held.subarray(end + 4 + length)
        continue
      }
      if (verb === 'PONG') {
        for (const resolve of waiting) resolve()
        waiting = []
      }
      if (verb === 'PING') socket.write('PONG\r\n')
      held = held.subarray(end + 2)
    }
  })
  const options = {
    verbose: false,
    pedantic: false,
    headers: false,
    echo: false,
    user: decodeURIComponent(username),
    pass: decodeURIComponent(password),
  }
  socket.write(`CONNECT ${JSON.stringify(options)}\r\nSUB tp.> 1\r\n`)
  const client: NatsClient = {
    heard,
    publish(subject, reply, payload) {
      socket.write(`PUB ${subject} ${reply === null ? '' : `${reply} `}${payload.length}\r\n`)
      socket.write(payload)
      socket.write('\r\n')
    },
    placed: (subject) => subject.replace(/(?<=^tp\.(edge|router)\.)[^.]+/, (id, role) => ids.get(role) ?? id),
    settled() {
      return new Promise((resolve) => {
        // The server may have ended this connection for what was sent on it, and answers no more.
        setTimeout(resolve, SETTLE_LIMIT).unref()
        waiting.push(resolve)
        socket.write('PING\r\n')
      })
    },
    close: () => socket.destroy(),
  }
  await client.settled()
  return client
}

/** Remembers by its beats who there is. */
function learn(ids: Map<string, string>, subject: string): void {
  const found = /^tp\.beat\.(\w+)\.([^.]+)$/.exec(subject)
  if (found !== null && !ids.has(found[1] as string)) ids.set(found[1] as string, found[2] as string)
}

const SUBJECTS: readonly string[] = [
  'tp.call.default',
  'tp.edge.x.1',
  'tp.router.x.1',
  'tp.router.any.1',
  'tp.identity',
  'tp.limits',
  'tp.cache',
  'tp.models',
  'tp.objects',
  'tp.settle',
  'tp.ownbatches',
  'tp.health',
  'tp.admin',
  'tp.changed.identity',
  'tp.changed.budget',
  'tp.changed.settings',
  'tp.changed.routing',
  'tp.changed.cache',
  'tp.beat.router.x',
  'tp.beat.edge.x',
  'tp.beat.accounting.x',
  'tp.usage.0',
  'tp.stored.TP_RUNTIME.settings',
  'tp.nobody',
]
/** Values whose encoding is sent as it is. */
const VALUES: readonly unknown[] = [
  null,
  0,
  -1,
  1e308,
  '',
  'a',
  [],
  {},
  [0],
  [0, 0],
  [0, 0, null],
  [1, 4294967295, {}],
  [99, 0, 'a'],
  ['a', 'b', 'c'],
  [2, 1, { code: 'nope', message: 1 }],
  [0, 0, { v: 99 }],
  { v: 1 },
  {
    v: 1,
    id: 'a',
    replyTo: 'tp.nobody',
    openedBy: 'x',
    deadline: 1000,
    credit: 0,
    body: new Uint8Array(1),
    more: false,
    head: null,
  },
  {
    v: 1,
    id: '../*',
    replyTo: 'tp.>',
    openedBy: '',
    deadline: Number.NaN,
    credit: 1,
    body: new Uint8Array(),
    more: true,
    head: { v: 1, callId: 1, endpoint: 'constructor', identity: null, headers: null },
  },
  {
    v: 1,
    id: 'b',
    replyTo: 'tp.nobody',
    openedBy: 'edge-x',
    deadline: 1000,
    credit: 2 ** 40,
    body: Buffer.from('{'),
    more: false,
    head: { v: 1, callId: 'c', take: 1, endpoint: 'acompletion', identity: { tags: 1 }, headers: { a: {} } },
  },
  { v: 1, hash: 5 },
  { v: 1, hash: 'a'.repeat(100_000) },
  { v: 1, events: [null, 1, {}, { callId: 'x' }] },
  { id: 'x', load: -1, inFlight: 'many' },
  { v: 1, kind: '__proto__', keys: [{}] },
  new Date(Number.NaN),
  new Map([[{}, 1]]),
  Array.from({ length: 5000 }, () => []),
]

function makeCase(heard: readonly Message[], random: Random): Case {
  const made = (subject: string, reply: string | null, body: Uint8Array): Case => ({ head: { subject, reply }, body })
  const message = random.pick(heard)
  const reply = random.chance(0.5) ? message.reply : random.pick([null, 'tp.nobody', 'tp.call.default', message.subject])
  switch (random.int(5)) {
    case 0:
      return made(random.pick(SUBJECTS), reply, codec.encode(random.pick(VALUES)))
    case 1:
      return made(message.subject, reply, codec.encode(random.pick(VALUES)))
    case 2:
      return made(random.pick(SUBJECTS), reply, mutateBytes(message.payload, random))
    case 3:
      return made(message.subject, reply, changed(message.payload, random))
    default:
      return made(message.subject, reply, mutateBytes(message.payload, random))
  }
}

/** One member of a message replaced. */
function changed(payload: Uint8Array, random: Random): Uint8Array {
  try {
    const value = codec.decode(payload)
    if (typeof value !== 'object' || value === null) return mutateBytes(payload, random)
    const holder = value as Record<string, unknown>
    const name = random.pick(Object.keys(holder))
    const inner = holder[name]
    if (typeof inner === 'object' && inner !== null && Object.keys(inner).length > 0 && random.chance(0.5))
      (inner as Record<string, unknown>)[random.pick(Object.keys(inner).slice(0, 50))] = random.pick(VALUES)
    else holder[name] = random.pick(VALUES)
    return codec.encode(value)
  } catch {
    return mutateBytes(payload, random)
  }
}
