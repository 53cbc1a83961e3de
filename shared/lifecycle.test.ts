import { describe, expect, it } from 'vitest'
import { testClock } from './clock.ts'
import { createLifecycle, type Part, stopOnSignals } from './lifecycle.ts'
import { silentLog } from './log.ts'

function recorded() {
  const clock = testClock()
  const events: string[] = []
  const lifecycle = createLifecycle({ clock, log: silentLog, drainLimit: 1000 })
  const part = (name: string, over: Partial<Part> = {}): Part => ({
    name,
    drain: async () => void events.push(`drain ${name}`),
    stop: async () => void events.push(`stop ${name}`),
    ...over,
  })
  const listeners = new Map<string, () => void>()
  const exits: number[] = []
  stopOnSignals(
    lifecycle,
    { on: (event, listener) => listeners.set(event, listener), exit: (code) => void exits.push(code) },
    clock,
  )
  return { clock, events, lifecycle, part, exits, signal: (name: string) => listeners.get(name)?.() }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

describe('lifecycle', () => {
  it('drains all parts before it stops any, latest first', async () => {
    const { lifecycle, part, events } = recorded()
    for (const name of ['database', 'router', 'edge']) lifecycle.add(part(name))
    await lifecycle.shutdown('test')
    expect(events).toEqual(['drain edge', 'drain router', 'drain database', 'stop edge', 'stop router', 'stop database'])
  })

  it('shuts down once, however often it is asked', async () => {
    const { lifecycle, part, events } = recorded()
    lifecycle.add(part('edge'))
    expect(lifecycle.stopping).toBe(false)
    await Promise.all([lifecycle.shutdown('one'), lifecycle.shutdown('two')])
    expect(lifecycle.stopping).toBe(true)
    expect(events).toEqual(['drain edge', 'stop edge'])
  })

  it('gives later parts only what is left of the drain limit', async () => {
    const { lifecycle, part, clock } = recorded()
    const limits: number[] = []
    const slow = async (limit: number) => {
      limits.push(limit)
      clock.advance(700)
    }
    for (const name of ['accounting', 'router', 'edge']) lifecycle.add(part(name, { drain: slow }))
    await lifecycle.shutdown('test')
    expect(limits).toEqual([1000, 300, 0])
  })

  it('stops the rest when a part fails to drain or to stop', async () => {
    const { lifecycle, part, events } = recorded()
    lifecycle.add(part('database'))
    lifecycle.add(part('edge', { drain: () => Promise.reject(new Error('no')), stop: () => Promise.reject(new Error('no')) }))
    await lifecycle.shutdown('test')
    expect(events).toEqual(['drain database', 'stop database'])
  })

  it('takes the copies of one Ctrl-C as one', async () => {
    const { lifecycle, part, events, signal, clock, exits } = recorded()
    lifecycle.add(part('edge', { drain: () => new Promise(() => undefined) }))
    signal('SIGINT')
    clock.advance(499)
    signal('SIGINT')
    await settled()
    expect(events).toEqual([])
    expect(exits).toEqual([])
  })

  it('ends the draining on a second signal and exits when a part will not stop', async () => {
    const { lifecycle, part, events, signal, clock, exits } = recorded()
    lifecycle.add(part('database', { stop: () => new Promise(() => undefined) }))
    lifecycle.add(part('edge', { drain: () => new Promise(() => undefined) }))
    signal('SIGTERM')
    clock.advance(600)
    signal('SIGINT')
    await settled()
    expect(events).toContain('stop edge')
    expect(exits).toEqual([])
    clock.advance(5000)
    expect(exits).toEqual([1])
  })

  it('leaves SIGHUP to whoever takes it, and ends on it otherwise', async () => {
    for (const taken of [true, false]) {
      const { lifecycle, part, events, clock } = recorded()
      lifecycle.add(part('edge'))
      const listeners = new Map<string, () => void>()
      const signals = { on: (event: string, run: () => void) => listeners.set(event, run), exit: () => undefined }
      stopOnSignals(lifecycle, signals, clock, () => taken)
      listeners.get('SIGHUP')?.()
      await settled()
      expect(events).toEqual(taken ? [] : ['drain edge', 'stop edge'])
    }
  })

  it('shuts down and exits 0 when the parent process is gone', async () => {
    const { lifecycle, part, events, signal, exits } = recorded()
    lifecycle.add(part('edge'))
    signal('disconnect')
    await settled()
    expect(events).toEqual(['drain edge', 'stop edge'])
    expect(exits).toEqual([0])
  })
})
