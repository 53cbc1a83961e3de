/** `30s`, `5m`, `12h`, `7d`, `2w`, `1mo`: an integer and a unit; what follows the unit is ignored, as LiteLLM does. */
const DURATION = /^(\d{1,9})(mo|[smhdw])/

/** Milliseconds of the units that always last the same. */
const LENGTHS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/**
 * `start` (Unix milliseconds) moved on by a duration, in UTC. A month is the same day and time of a later month, or its last day
 * when it is shorter. Throws RangeError for what is not a duration.
 */
export function addDuration(start: number, text: string): number {
  const match = DURATION.exec(text.trim())
  const unit = match?.[2]
  if (match === null || unit === undefined)
    throw new RangeError(`"${text.slice(0, 40)}" is not a duration such as 30s, 12h, 7d, 1mo`)
  const amount = Number(match[1])
  const length = LENGTHS[unit]
  return length === undefined ? addMonths(start, amount) : start + amount * length
}

function addMonths(start: number, months: number): number {
  const date = new Date(start)
  const day = date.getUTCDate()
  date.setUTCDate(1)
  date.setUTCMonth(date.getUTCMonth() + months)
  const last = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate()
  date.setUTCDate(Math.min(day, last))
  return date.getTime()
}
