import { addDuration } from '../../shared/duration.ts'
import { GatewayError } from '../../shared/errors.ts'

const DAY = 86_400_000
/** Past this a Date no longer is one. */
const LAST_TIME = 8_640_000_000_000_000

/**
 * When a budget window that is open at `now` closes, aligned to the UTC calendar (surface reference §3.3): whole days end at midnight,
 * `7d` on Monday, `30d` and months on the first, shorter units on a multiple of themselves. Unix milliseconds. Throws GatewayError
 * `bad_request` for what is not a duration.
 */
export function nextReset(now: number, duration: string): number {
  const match = /^(\d{1,9})(mo|[smhdw])/.exec(duration.trim())
  const amount = Number(match?.[1])
  const date = new Date(now)
  const midnight = Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate())
  const monday = 8 - (date.getUTCDay() || 7)
  switch (match?.[2]) {
    case 'mo':
      return checked(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + Math.max(1, amount), 1), duration)
    case 'd':
    case 'w': {
      const days = match[2] === 'w' ? amount * 7 : amount
      if (days === 7) return midnight + monday * DAY
      if (days === 30) return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1)
      return checked(midnight + Math.max(1, days) * DAY, duration)
    }
    case undefined:
      throw notADuration(duration)
    default: {
      const length = timeAfter(0, `${Math.max(1, amount)}${match?.[2]}`)
      return length % DAY === 0
        ? checked(midnight + length, duration)
        : checked((Math.floor(now / length) + 1) * length, duration)
    }
  }
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
