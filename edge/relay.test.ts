import { afterEach, describe, expect, it } from 'vitest'
import type { IncomingStream } from '../shared/bus/bus.ts'
import { chatText, connectRaw, type RawClient, type Scene, startScene } from './testing.ts'

let scene: Scene | null = null
let client: RawClient | null = null

afterEach(async () => {
  client?.end()
  await scene?.stop()
  scene = null
})

describe('credit', () => {
  it('stops when a client does not read, and what was sent arrives whole when it does', async () => {
    const part = Buffer.alloc(32 * 1024, 'abcdefgh')
    const total = 24 * 1024 * 1024
    let accepted = 0
    const produce = (stream: IncomingStream) => {
      while (accepted < total) {
        accepted += part.length
        if (!stream.data(part)) return
      }
      stream.end()
    }
    scene = await startScene({
      route(stream) {
        stream.onWritable = () => produce(stream)
        stream.start({ v: 1, status: 200, headers: { 'content-type': 'application/octet-stream' } })
        produce(stream)
      },
    })
    client = await connectRaw(scene.edge.port)
    client.socket.pause()
    client.send(chatText())
    let before = -1
    while (before !== accepted) {
      before = accepted
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
    // What the kernel buffers of both ends take (6 MB by default), and the stream's window.
    expect(accepted).toBeLessThan(12 * 1024 * 1024)
    client.socket.resume()
    await client.untilEnd('\r\n0\r\n\r\n')
    const sizes = [...client.received.matchAll(/([0-9a-f]+)\r\n[abcdefgh]/g)].map((found) =>
      Number.parseInt(found[1] as string, 16),
    )
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(total)
  })
})

describe('a router that dies', () => {
  it('in the middle of an answer has what it announced booked as unsettled', async () => {
    const { createCodec } = await import('../shared/bus/codec.ts')
    const booking = createCodec().encode({
      v: 1,
      callId: 'c1',
      take: 1,
      outcome: 'unsettled',
      attempts: [{ index: 0, outcome: 'unsettled', usage: { input: 12, output: 0 } }],
      outputBytesPerToken: 4,
    })
    const booked: unknown[] = []
    scene = await startScene({
      route(stream) {
        stream.start({ v: 1, status: 200, headers: { 'content-type': 'text/event-stream' }, booking })
        stream.data(Buffer.from('data: 0123456789\n\n'))
      },
    })
    scene.accounting.consume('test', { batch: 10, wait: 1 }, async (events) => void booked.push(...events))
    client = await connectRaw(scene.edge.port)
    client.send(chatText())
    await client.until(/data: 0123456789\n\n/)
    scene.hub.faults.kill(scene.router.id)
    await client.until(/data: \{"error":\{.*"code":"502"\}\}\n\n/)
    while (booked.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(booked).toMatchObject([
      {
        callId: 'c1',
        take: 1,
        outcome: 'unsettled',
        error: { code: 'lost_router' },
        attempts: [{ outcome: 'unsettled', usage: { input: 12, output: 5, estimated: true } }],
      },
    ])
    expect(booked[0]).not.toHaveProperty('outputBytesPerToken')
  })
})
