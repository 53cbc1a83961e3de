import { describe, expect, it } from 'vitest'
import { Ticket } from './ticket.ts'

/** A stream that may have `output` tokens at a nano-dollar each; `room` is what the budgets have. */
function stream(output: number, bounded: boolean, room: number) {
  const asked: number[] = []
  const ends: string[] = []
  const ticket = new Ticket({
    lease: 'l',
    limits: [],
    scopes: [],
    tokens: 0,
    output,
    bounded,
    metered: true,
    costOf: (tokens) => tokens,
  })
  ticket.reserve(100)
  const extend = (hold: number): boolean => {
    asked.push(hold)
    return hold <= room
  }
  ticket.meter(extend, () => ends.push('out'))
  return { ticket, asked, ends }
}

/** Lets answers of the counters arrive. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

describe('the meter of a stream', () => {
  it('asks for nothing while less than half of the reserve is used', async () => {
    const { ticket, asked } = stream(10_000, true, 10_000)
    ticket.progress(49)
    await settled()
    expect(asked).toEqual([])
  })

  it('asks for four times as much, ahead of need, and never for more than the call may use', async () => {
    const { ticket, asked, ends } = stream(1_000, true, 10_000)
    for (const tokens of [50, 60, 200, 900, 1_000, 1_001]) {
      ticket.progress(tokens)
      await settled()
    }
    expect(asked).toEqual([400, 1_000])
    expect(ticket.request.hold).toBe(1_000)
    expect(ends).toEqual([])
  })

  it('takes the little that is left, then ends the stream once when it is used', async () => {
    const { ticket, asked, ends } = stream(1_000, true, 120)
    for (let tokens = 0; tokens <= 200; tokens += 1) {
      ticket.progress(tokens)
      await settled()
    }
    expect(asked.every((hold) => hold <= 464)).toBe(true)
    expect(ticket.request.hold).toBe(116)
    expect(ends).toEqual(['out'])
  })

  it('grows without end when the call names no limit and there is room', async () => {
    const { ticket, ends } = stream(200, false, 1_000_000)
    for (let tokens = 0; tokens < 5_000; tokens += 10) {
      ticket.progress(tokens)
      await settled()
    }
    expect(ticket.request.hold).toBeGreaterThan(5_000)
    expect(ends).toEqual([])
  })

  it('goes on with what it has when the counters are away, and ends there', async () => {
    const ends: string[] = []
    const ticket = new Ticket({
      lease: 'l',
      limits: [],
      scopes: [],
      tokens: 0,
      output: 1_000,
      bounded: true,
      metered: true,
      costOf: (tokens) => tokens,
    })
    ticket.reserve(100)
    ticket.meter(
      () => Promise.reject(new Error('away')),
      () => ends.push('out'),
    )
    ticket.progress(50)
    await settled()
    ticket.progress(99)
    expect(ends).toEqual([])
    ticket.progress(100)
    expect(ends).toEqual(['out'])
  })

  it('is silent once the call is over', async () => {
    const { ticket, asked, ends } = stream(1_000, true, 120)
    ticket.stopMeter()
    ticket.progress(500)
    await settled()
    expect([asked, ends]).toEqual([[], []])
  })
})
