import { describe, expect, it } from 'vitest'
import type { IncomingStream } from '../shared/bus/bus.ts'
import { GatewayError, toWire } from '../shared/errors.ts'
import { answer, chat, delta, identity, JSON_TYPE, make, STREAM, settled, sse } from './handle.testkit.ts'
import { createInternalCalls, type InternalRequest, isUnlimited } from './internal-call.ts'

const request: InternalRequest = { identity, endpoint: 'acompletion', body: chat, deadline: 30_000 }

function scene() {
  const router = make()
  let running = 0
  const take = (incoming: IncomingStream): void => {
    running += 1
    router.handle(incoming, () => {
      running -= 1
    })
  }
  const calls = createInternalCalls({ take, clock: router.clock, newId: () => 'internal-1' })
  return { ...router, calls, running: () => running }
}

describe('an internal call', () => {
  it('is served, counted and booked like a client’s, with its mark in the metadata and none at the provider', async () => {
    const { calls, sent, events, running } = scene()
    const body = { ...chat, metadata: { trace: 't' } }
    const run = calls.run({ ...request, body, metadata: { is_silent_experiment: true } })
    await settled()
    expect(running()).toBe(1)
    expect(Buffer.from(sent[0]?.request.body as Uint8Array).toString()).not.toContain('metadata')
    sent[0]?.sink.head(200, JSON_TYPE)
    sent[0]?.sink.data(answer())
    sent[0]?.sink.end()
    const result = await run
    expect(result.status).toBe(200)
    expect(JSON.parse(Buffer.from(result.body).toString())).toMatchObject({ choices: [{ message: { content: 'hello' } }] })
    expect(events[0]).toMatchObject({ callId: 'internal-1', metadata: { trace: 't', is_silent_experiment: true } })
    await settled()
    expect(running()).toBe(0)
  })

  it('gets a stream as one body with its end', async () => {
    const { calls, sent } = scene()
    const run = calls.run({ ...request, body: Buffer.from(JSON.stringify({ ...chat, stream: true })) })
    await settled()
    sent[0]?.sink.head(200, STREAM)
    for (const event of [delta('one'), delta(' two', 'stop'), sse('[DONE]')]) sent[0]?.sink.data(event)
    const text = Buffer.from((await run).body).toString()
    expect(text).toContain('" two"')
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
  })

  it('resolves with an error answer, and keeps nothing of an answer nobody wants', async () => {
    const { calls, sent } = scene()
    const refused = calls.run({ ...request, body: { ...chat, model: 'unheard-of' } })
    expect(await refused).toMatchObject({ status: 400 })
    const discarded = calls.run({ ...request, discard: true })
    await settled()
    sent[0]?.sink.head(200, JSON_TYPE)
    sent[0]?.sink.data(answer())
    sent[0]?.sink.end()
    expect((await discarded).body).toHaveLength(0)
  })

  it('rejects when the router takes no calls', async () => {
    const refuse = (incoming: IncomingStream): void => incoming.refuse(toWire(new GatewayError('draining')))
    const calls = createInternalCalls({ take: refuse, clock: make().clock, newId: () => 'i' })
    await expect(calls.run(request)).rejects.toMatchObject({ code: 'draining' })
  })

  it('is stopped and booked at its deadline', async () => {
    const { calls, clock, sent, events } = scene()
    const run = calls.run({ ...request, deadline: 500 })
    await settled()
    clock.advance(501)
    await expect(run).rejects.toMatchObject({ code: 'deadline_exceeded' })
    await settled()
    expect(sent[0]?.aborted).toBe(true)
    expect(events[0]).toMatchObject({ outcome: 'cancelled', attempts: [{ usage: { estimated: true } }] })
  })

  it('says by itself whether it is limited: no client can', () => {
    const seen: boolean[] = []
    const take = (incoming: IncomingStream): void => void seen.push(isUnlimited({ incoming } as never))
    const calls = createInternalCalls({ take, clock: make().clock, newId: () => 'i' })
    void calls.run({ ...request, unlimited: true })
    void calls.run(request)
    expect(seen).toEqual([true, false])
    expect(isUnlimited({ incoming: { unlimited: true } } as never)).toBe(false)
  })
})
