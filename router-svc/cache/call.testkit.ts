import type { CallMessage, StartHead } from '../../proto/call.ts'
import type { Identity } from '../../proto/identity.ts'
import { adminIdentity } from '../../proto/identity.ts'
import type { CacheSettings } from '../../proto/routing.ts'
import type { Attempt } from '../../proto/usage.ts'
import { receiveWhole } from '../../shared/bus/body.ts'
import type { IncomingStream } from '../../shared/bus/bus.ts'
import { type Clock, testClock } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'
import { type Call, type DecodeSettings, decode, openCall } from '../call.ts'

export const SETTINGS: CacheSettings = {
  type: 'memory',
  defaultOn: true,
  ttl: 60_000,
  namespace: null,
  modes: ['chat', 'completion', 'embedding'],
  tenancy: 'tenant',
  singleFlight: false,
  replayPace: 0,
  maxEntries: 1_000,
  maxBytes: 10_000_000,
  groups: [],
  providerParams: false,
  directory: null,
  redisUrl: null,
  s3: null,
  semantic: null,
}

/** A client on the other side of a call. */
export interface Client {
  head: StartHead | null
  text: string
  writes: number
  ended: boolean
  /** What `data` answers: false = it is behind. */
  keepsUp: boolean
  stream: IncomingStream
}

export interface CallFields {
  identity?: Partial<Identity>
  headers?: Record<string, string>
  endpoint?: string
  clock?: Clock
}

const CHAT = { model: 'gpt', messages: [{ role: 'user', content: 'hi' }] }

/** A call as far as it is when the cache is asked: decoded, its model resolved. */
export function callOf(body: Record<string, unknown> = {}, fields: CallFields = {}): { call: Call; client: Client } {
  const endpoint = fields.endpoint ?? 'acompletion'
  const whole = endpoint === 'acompletion' ? { ...CHAT, ...body } : { model: 'gpt', ...body }
  const client: Client = {
    head: null,
    text: '',
    writes: 0,
    ended: false,
    keepsUp: true,
    stream: null as unknown as IncomingStream,
  }
  const message: CallMessage = {
    v: 1,
    callId: 'call-1',
    take: 1,
    endpoint,
    identity: { ...adminIdentity('hash'), userId: null, ...fields.identity },
    headers: fields.headers ?? {},
  }
  const raw = Buffer.from(JSON.stringify(whole))
  const add = (bytes: Uint8Array): void => {
    client.text += Buffer.from(bytes).toString()
    client.writes += 1
  }
  client.stream = {
    id: 'call-1',
    head: message,
    deadline: 600_000,
    body: raw,
    closed: false,
    onWritable: null,
    onCancel: null,
    receive: (take) => receiveWhole(Buffer.alloc(0), take),
    collect: () => Promise.reject(new GatewayError('internal')),
    refuse() {},
    start: (head) => {
      client.head = head
    },
    data: (bytes) => {
      add(bytes)
      return client.keepsUp
    },
    end: () => {
      client.ended = true
    },
    fail() {},
    whole: (head, bytes) => {
      client.head = head
      add(bytes)
      client.ended = true
    },
  }
  const call = openCall(client.stream, fields.clock ?? testClock())
  decode(call, raw, { allowClientSideCredentials: false, alwaysIncludeStreamUsage: false, customerHeaders: [] } as DecodeSettings)
  return { call, client }
}

export function attemptOf(fields: Partial<Attempt> = {}): Attempt {
  return {
    index: 0,
    deploymentId: 'd1',
    provider: 'openai',
    model: 'gpt-4o',
    apiBase: null,
    startedAt: 0,
    firstTokenAt: null,
    endedAt: 1,
    outcome: 'success',
    ...fields,
  }
}

export function chatAnswer(
  content: string | null = 'hello there',
  fields: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1_700_000_000,
    model: 'gpt-4o-2024',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 },
    ...fields,
  }
}

export const turned = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
