import { createHash } from 'node:crypto'
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

describe('a large body', () => {
  it('crosses the bus byte for byte, with bounded memory while the router does not collect it', async () => {
    const body = Buffer.alloc(20 * 1024 * 1024)
    for (let index = 0; index < body.length; index += 4) body.writeUInt32LE(index, index)
    let taken: IncomingStream | null = null
    scene = await startScene({
      route(stream) {
        taken = stream
      },
    })
    client = await connectRaw(scene.edge.port)
    client.send(chatText('', { 'content-length': String(body.length) }))
    client.send(body)
    while (taken === null) await new Promise((resolve) => setImmediate(resolve))
    const stream = taken as IncomingStream
    expect(stream.body).toBeNull()
    await new Promise((resolve) => setTimeout(resolve, 300))
    // Kernel buffers, one read of the socket and the bus's own window; the rest is still with the client.
    expect(client.socket.writableLength).toBeGreaterThan(0)
    const collected = await stream.collect(64 * 1024 * 1024)
    stream.whole({ v: 1, status: 200, headers: {} }, Buffer.from(createHash('sha256').update(collected).digest('hex')))
    await client.until(new RegExp(createHash('sha256').update(body).digest('hex')))
  })

  it('whose client leaves in the middle fails at the router', async () => {
    const failed = new Promise<unknown>((resolve) => {
      void startScene({ route: (stream) => void stream.collect(64 * 1024 * 1024).catch(resolve) }).then(async (started) => {
        scene = started
        client = await connectRaw(started.edge.port)
        client.send(chatText('', { 'content-length': '4000000' }))
        client.send(Buffer.alloc(2_000_000))
        setTimeout(() => client?.end(), 200)
      })
    })
    expect(await failed).toMatchObject({ name: 'GatewayError' })
  })
})
