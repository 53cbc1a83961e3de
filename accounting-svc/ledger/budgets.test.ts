import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nextReset, timeAfter } from './budgets.ts'

const iso = (time: number): string => new Date(time).toISOString()
/** A Saturday. */
const NOW = Date.UTC(2026, 10, 21, 13, 47, 12, 345)

describe('nextReset', () => {
  it.each([
    ['1d', '2026-11-22T00:00:00.000Z'],
    ['24h', '2026-11-22T00:00:00.000Z'],
    ['7d', '2026-11-23T00:00:00.000Z'],
    ['1w', '2026-11-23T00:00:00.000Z'],
    ['30d', '2026-12-01T00:00:00.000Z'],
    ['1mo', '2026-12-01T00:00:00.000Z'],
    ['2mo', '2027-01-01T00:00:00.000Z'],
    ['3d', '2026-11-24T00:00:00.000Z'],
    ['1h', '2026-11-21T14:00:00.000Z'],
    ['15m', '2026-11-21T14:00:00.000Z'],
    ['30s', '2026-11-21T13:47:30.000Z'],
  ])('closes a window of %s at %s', (duration, expected) => {
    expect(iso(nextReset(NOW, duration))).toBe(expected)
  })

  it('closes a week that begins on a Monday on the next one', () => {
    expect(iso(nextReset(Date.UTC(2026, 10, 23), '7d'))).toBe('2026-11-30T00:00:00.000Z')
  })

  it.each(['', 'soon', 'd1', '-1d', '999999999mo'])('refuses %j', (duration) => {
    expect(() => nextReset(NOW, duration)).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })
})

describe('nextReset in a zone', () => {
  it.each([
    // The clock goes forward at 02:00 on 29 March 2026 in Berlin, back at 03:00 on 25 October; days of 23 and 25 hours.
    ['Europe/Berlin', '1d', '2026-03-28T23:30:00Z', '2026-03-29T22:00:00.000Z'],
    ['Europe/Berlin', '24h', '2026-10-24T22:00:00Z', '2026-10-25T23:00:00.000Z'],
    ['Europe/Berlin', '7d', '2026-03-25T12:00:00Z', '2026-03-29T22:00:00.000Z'],
    ['Europe/Berlin', '30d', '2026-10-02T12:00:00Z', '2026-10-31T23:00:00.000Z'],
    ['Europe/Berlin', '1mo', '2026-03-31T23:30:00Z', '2026-04-30T22:00:00.000Z'],
    // 04:00 summer time comes two hours after 01:00; 02:00 comes twice in autumn, and either is a multiple of an hour.
    ['Europe/Berlin', '4h', '2026-03-29T00:00:00Z', '2026-03-29T02:00:00.000Z'],
    ['Europe/Berlin', '2h', '2026-03-29T00:30:00Z', '2026-03-29T02:00:00.000Z'],
    ['Europe/Berlin', '1h', '2026-10-25T00:30:00Z', '2026-10-25T01:00:00.000Z'],
    ['Europe/Berlin', '12h', '2026-10-25T00:00:00Z', '2026-10-25T11:00:00.000Z'],
    ['America/New_York', '1d', '2026-03-08T05:00:00Z', '2026-03-09T04:00:00.000Z'],
    ['America/New_York', '1d', '2026-11-01T04:00:00Z', '2026-11-02T05:00:00.000Z'],
    ['America/New_York', '7d', '2026-11-02T04:59:59Z', '2026-11-02T05:00:00.000Z'],
    // Half an hour of daylight saving: +11:00 in summer, +10:30 in winter.
    ['Australia/Lord_Howe', '1d', '2026-04-04T13:00:00Z', '2026-04-05T13:30:00.000Z'],
    ['Australia/Lord_Howe', '1d', '2026-10-03T13:30:00Z', '2026-10-04T13:00:00.000Z'],
    ['Australia/Lord_Howe', '1h', '2026-04-04T14:45:00Z', '2026-04-04T15:30:00.000Z'],
    // Midnight does not exist on the day the clock goes forward; the day begins at 01:00.
    ['America/Santiago', '1d', '2026-09-05T12:00:00Z', '2026-09-06T04:00:00.000Z'],
    // Midnight comes and an hour later once more it is 23:00 of the day before.
    ['America/Santiago', '1d', '2026-04-04T12:00:00Z', '2026-04-05T04:00:00.000Z'],
    // The whole 30th of December 2011 was left out.
    ['Pacific/Apia', '1d', '2011-12-29T20:00:00Z', '2011-12-30T10:00:00.000Z'],
    ['Asia/Kolkata', '12h', '2026-11-21T00:00:00Z', '2026-11-21T06:30:00.000Z'],
  ])('%s: closes a window of %s open at %s at %s', (zone, duration, now, expected) => {
    expect(iso(nextReset(Date.parse(now), duration, zone))).toBe(expected)
  })

  const zones = fc.constantFrom(
    'UTC',
    'Europe/Berlin',
    'America/New_York',
    'Australia/Lord_Howe',
    'America/Santiago',
    'Asia/Kathmandu',
  )
  const times = fc.integer({ min: Date.UTC(2020, 0, 1), max: Date.UTC(2035, 0, 1) })
  /** Clock and date on the wall of a zone, as text that another implementation wrote. */
  const wall = (time: number, zone: string): string => new Date(time).toLocaleString('sv-SE', { timeZone: zone })

  it('is later than now, at the start of a local day, and no later than the days say', () => {
    fc.assert(
      fc.property(zones, times, fc.integer({ min: 1, max: 60 }), (zone, now, days) => {
        const reset = nextReset(now, `${days}d`, zone)
        expect(reset).toBeGreaterThan(now)
        expect(reset).toBeLessThanOrEqual(now + (days + 1) * 86_400_000 + 3_600_000)
        // The moment before belongs to another day.
        expect(wall(reset, zone).slice(0, 10)).not.toBe(wall(reset - 1, zone).slice(0, 10))
        if (days === 7) expect(new Date(`${wall(reset, zone).slice(0, 10)}T00:00:00Z`).getUTCDay()).toBe(1)
        if (days === 30) expect(wall(reset, zone).slice(8, 10)).toBe('01')
      }),
      { numRuns: 300 },
    )
  })

  it('is later than now, on a multiple by the local clock, with none in between, for shorter units', () => {
    fc.assert(
      fc.property(zones, times, fc.constantFrom(1, 2, 3, 4, 6, 8, 12), (zone, now, hours) => {
        const reset = nextReset(now, `${hours}h`, zone)
        const aligned = (time: number): boolean => {
          const [hour = 0, minute = 0, second = 0] = wall(time, zone).slice(11, 19).split(':').map(Number)
          return hour % hours === 0 && minute === 0 && second === 0
        }
        expect(reset).toBeGreaterThan(now)
        expect(aligned(reset)).toBe(true)
        for (let time = Math.floor(now / 1_800_000 + 1) * 1_800_000; time < reset; time += 1_800_000)
          expect(aligned(time)).toBe(false)
      }),
      { numRuns: 300 },
    )
  })
})

describe('timeAfter', () => {
  it('adds exactly what is said', () => {
    expect(timeAfter(NOW, '90s') - NOW).toBe(90_000)
    expect(iso(timeAfter(Date.UTC(2027, 0, 31), '1mo'))).toBe('2027-02-28T00:00:00.000Z')
  })

  it.each(['never', '999999999mo'])('refuses %j', (duration) => {
    expect(() => timeAfter(NOW, duration)).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })
})
