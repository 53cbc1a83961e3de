const DAY = 86_400_000

/** A day of a zone. `month` counts from 0 as in Date, `weekday` from 1 = Monday to 7. */
export interface LocalDate {
  year: number
  month: number
  day: number
  weekday: number
}

export interface Calendar {
  dateOf(time: number): LocalDate
  /** First moment of a day, Unix milliseconds. A month or day past its end carries over, as in Date. */
  startOfDay(year: number, month: number, day: number): number
  /** First moment after `time` at which the local clock shows a multiple of `length` milliseconds. */
  nextMultiple(time: number, length: number): number
}

/**
 * The calendar and the clock on the wall of an IANA zone, daylight saving included: days have 23 to 25 hours, midnight may come twice or
 * not at all. Throws RangeError for a zone that does not exist.
 */
export function createCalendar(zone: string): Calendar {
  let calendar = calendars.get(zone)
  if (calendar === undefined) {
    calendar = calendarOf(zone)
    calendars.set(zone, calendar)
  }
  return calendar
}

/** A format takes 25 to 50 µs to make, and lists ask for one a row. There are no more than the 600 zones that exist. */
const calendars = new Map<string, Calendar>()

function calendarOf(zone: string): Calendar {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })

  /** What the local clock shows, as if it were UTC: Unix milliseconds. */
  function wall(time: number): number {
    const shown: Record<string, number> = {}
    for (const { type, value } of format.formatToParts(time)) shown[type] = Number(value)
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown
    return Date.UTC(year, month - 1, day, hour, minute, second) + (((time % 1000) + 1000) % 1000)
  }
  const offset = (time: number): number => wall(time) - time

  /** Where between two moments the offset changes. */
  function transition(before: number, after: number): number {
    const from = offset(before)
    let [low, high] = [before, after]
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (offset(middle) === from) low = middle
      else high = middle
    }
    return high
  }

  return {
    dateOf(time) {
      const date = new Date(wall(time))
      return {
        year: date.getUTCFullYear(),
        month: date.getUTCMonth(),
        day: date.getUTCDate(),
        weekday: date.getUTCDay() || 7,
      }
    },
    startOfDay(year, month, day) {
      const midnight = Date.UTC(year, month, day)
      // The offsets in force around it. Where they differ one of the two moments may belong to the day before.
      const first = midnight - offset(midnight - DAY)
      const second = midnight - offset(midnight + DAY)
      const [earlier, later] = first < second ? [first, second] : [second, first]
      return Math.floor(wall(earlier) / DAY) * DAY === midnight ? earlier : later
    },
    nextMultiple(time, length) {
      const next = time + length - modulo(wall(time), length)
      if (offset(next) === offset(time)) return next
      // The clock is put forward or back before that: what it shows from then on decides.
      const change = transition(time, next)
      const past = modulo(wall(change), length)
      return past === 0 ? change : change + length - past
    },
  }
}

function modulo(value: number, length: number): number {
  return ((value % length) + length) % length
}
