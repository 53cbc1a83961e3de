import { addDuration } from '../../shared/duration.ts'
import { GatewayError } from '../../shared/errors.ts'
import { createCalendar } from './calendar.ts'

const DAY = 86_400_000
/** Past this a Date no longer is one. A day is left for the zones. */
const LAST_TIME = 8_640_000_000_000_000 - DAY

/**
 * When a budget window that is open at `now` closes, aligned to the calendar of `zone` (IANA; surface reference §3.3): whole days end
 * at local midnight, `7d` on Monday, `30d` and months on the first, shorter units on a multiple of themselves by the local clock.
 * Always later than `now`. Unix milliseconds. Throws GatewayError `bad_request` for what is not a duration.
 */
export function nextReset(now: number, duration: string, zone = 'UTC'): number {
  const match = /^(\d{1,9})(mo|[smhdw])/.exec(duration.trim())
  const unit = match?.[2]
  if (unit === undefined) throw notADuration(duration)
  const amount = Math.max(1, Number(match?.[1]))
  const calendar = createCalendar(zone)
  const { year, month, day, weekday } = calendar.dateOf(now)
  const startOf = (nextMonth: number, nextDay: number): number => {
    checked(Date.UTC(year, nextMonth, nextDay), duration)
    return calendar.startOfDay(year, nextMonth, nextDay)
  }
  if (unit === 'mo') return startOf(month + amount, 1)
  const length = timeAfter(0, `${amount}${unit}`)
  if (length % DAY !== 0) {
    checked(now + length, duration)
    return calendar.nextMultiple(now, length)
  }
  const days = length / DAY
  if (days === 7) return startOf(month, day + 8 - weekday)
  if (days === 30) return startOf(month + 1, 1)
  return startOf(month, day + days)
}

/** `start` plus a duration, Unix milliseconds. Throws GatewayError `bad_request` for what is not a duration, or ends past all dates. */
export function timeAfter(start: number, duration: string): number {
  try {
    return checked(addDuration(start, duration), duration)
  } catch (error) {
    if (error instanceof RangeError) throw notADuration(duration)
    throw error
  }
}

function checked(time: number, duration: string): number {
  if (!(Math.abs(time) <= LAST_TIME)) throw notADuration(duration)
  return time
}

function notADuration(duration: string): GatewayError {
  return new GatewayError(
    'bad_request',
    `'${duration.slice(0, 40)}' is not a duration. Use a number and a unit: 30s, 15m, 12h, 7d, 2w, 1mo.`,
    {
      type: 'bad_request_error',
    },
  )
}
