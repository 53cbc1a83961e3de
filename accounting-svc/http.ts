import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import type { AdminMessage } from '../proto/admin.ts'
import { QUEUE } from '../proto/subjects.ts'
import { WIRE_VERSION } from '../proto/version.ts'
import type { Bus, IncomingStream, Service } from '../shared/bus/bus.ts'
import { GatewayError, toGatewayError, toWire } from '../shared/errors.ts'
import type { Log } from '../shared/log.ts'
import type { RequestRouter } from './routes/route.ts'

const EMPTY = new Uint8Array()

export interface Door {
  /** 0 when there is none. */
  readonly port: number
  /** Takes no new connection, ends the idle ones, resolves when the rest is done. */
  drain(): Promise<void>
  /** Ends all of them. */
  stop(): Promise<void>
}

/** The own listener. Rejects when the address is taken. */
export async function listen(router: RequestRouter, address: { host: string; port: number }): Promise<Door> {
  const server = createAdaptorServer({ fetch: (request) => router.fetch(request), overrideGlobalObjects: false })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(address.port, address.host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  let closing: Promise<void> | null = null
  const close = (): Promise<void> => {
    closing ??= new Promise((resolve) => server.close(() => resolve()))
    return closing
  }
  return {
    port: (server.address() as AddressInfo).port,
    drain() {
      const done = close()
      if ('closeIdleConnections' in server) server.closeIdleConnections()
      return done
    },
    stop() {
      const done = close()
      if ('closeAllConnections' in server) server.closeAllConnections()
      return done
    },
  }
}

/** The other door: management requests that edges carry over the bus. */
export function serveTunnel(bus: Bus, router: RequestRouter, options: { bodyLimit: number; log: Log }): Service {
  return bus.serve(bus.subjects.admin, QUEUE.accounting, (stream) => {
    const work = new AbortController()
    stream.onCancel = () => work.abort()
    answer(stream, router, options.bodyLimit, work.signal).catch((error: unknown) => {
      if (stream.closed) return
      const known = toGatewayError(error)
      if (known.code === 'internal') options.log.error({ err: error }, 'a management request over the bus failed')
      stream.fail(toWire(known))
    })
  })
}

async function answer(stream: IncomingStream, router: RequestRouter, bodyLimit: number, signal: AbortSignal): Promise<void> {
  const head = stream.head as AdminMessage
  const body = stream.body ?? (await stream.collect(bodyLimit))
  const response = await router.fetch(requestOf(head, body, signal))
  const start = { v: WIRE_VERSION, status: response.status, headers: Object.fromEntries(response.headers) }
  if (response.body === null) return stream.whole(start, EMPTY)

  const reader: ReadableStreamDefaultReader<Uint8Array> = response.body.getReader()
  signal.addEventListener('abort', () => void reader.cancel().catch(() => undefined), { once: true })
  // One part is always held back: an answer that has only one goes out in a single frame.
  let held: Uint8Array | null = null
  let started = false
  for (;;) {
    const part = await reader.read()
    if (stream.closed) return
    if (part.done) break
    if (held !== null) {
      if (!started) stream.start(start)
      started = true
      await send(stream, held)
    }
    held = part.value
  }
  if (!started) return stream.whole(start, held ?? EMPTY)
  await send(stream, held ?? EMPTY)
  if (!stream.closed) stream.end()
}

/** Sends and waits for credit: a slow client holds back the database, not the memory. */
async function send(stream: IncomingStream, bytes: Uint8Array): Promise<void> {
  if (stream.closed || stream.data(bytes)) return
  await new Promise<void>((resolve) => {
    const cancelled = stream.onCancel
    stream.onWritable = resolve
    stream.onCancel = (reason) => {
      cancelled?.(reason)
      resolve()
    }
  })
}

/** Throws GatewayError `bad_request`: whoever speaks HTTP by hand may send methods, addresses and headers that a Request does not take. */
function requestOf({ method, url, headers }: AdminMessage, body: Uint8Array, signal: AbortSignal): Request {
  const hasBody = method !== 'GET' && method !== 'HEAD' && body.length > 0
  try {
    // Not against a base: of `//host/path` that would make another host.
    return new Request(new URL(url.startsWith('/') ? `http://accounting${url}` : url), {
      method,
      headers,
      signal,
      ...(hasBody ? { body: body as Uint8Array<ArrayBuffer> } : {}),
    })
  } catch {
    throw new GatewayError('bad_request', 'The method, the address or a header of the request is none that can be served.')
  }
}
