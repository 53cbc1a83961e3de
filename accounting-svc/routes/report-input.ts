import type { Identity } from '../../proto/identity.ts'
import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { readsAll } from '../identity/access.ts'
import type { Zone } from '../sql/activity.ts'
import { membershipsOf } from '../sql/memberships.ts'
import type { Reach } from '../sql/report-filter.ts'
import { z } from './route.ts'

/** Milliseconds of a UTC day. */
export const DAY = 86_400_000

/** Fields of reports over whole days. Dates are checked by `daysOf`, which names the field. */
export const dates = {
  start_date: z.string().optional().describe('First day, YYYY-MM-DD'),
  end_date: z.string().optional().describe('Last day, YYYY-MM-DD, included'),
}

export const format = {
  format: z.enum(['json', 'csv']).optional().describe('csv, or the header accept: text/csv, gives a CSV file'),
}

/** Whole days, both included. */
export interface Days {
  first: string
  last: string
}

/** A request that does not fit, with the field it is about. */
export function bad(field: string, message: string): GatewayError {
  return new GatewayError('bad_request', message, { type: 'bad_request_error', param: field })
}

/** A day as `YYYY-MM-DD`; what follows it (a time) is left out. Throws `bad_request` naming `field`. */
export function dayOf(text: string, field: string): string {
  const day = text.slice(0, 10)
  const time = /^\d{4}-\d{2}-\d{2}([ T].*)?$/.test(text) ? Date.parse(`${day}T00:00:00Z`) : Number.NaN
  // The round trip refuses the 30th of February, which Date takes for the 2nd of March.
  if (Number.isNaN(time) || new Date(time).toISOString().slice(0, 10) !== day || day < '1970')
    throw bad(field, `${field} is not a date of the form YYYY-MM-DD.`)
  return day
}

/** Both days of a report that needs them. Throws `bad_request` naming the field that is missing or wrong. */
export function daysOf(input: { start_date?: string | undefined; end_date?: string | undefined }): Days {
  for (const field of ['start_date', 'end_date'] as const) {
    if (input[field] === undefined || input[field] === '')
      throw bad(field, `start_date and end_date are both needed, as YYYY-MM-DD; ${field} is missing.`)
  }
  return ordered(dayOf(input.start_date as string, 'start_date'), dayOf(input.end_date as string, 'end_date'))
}

/** The days of a report that has a default for them: the 30 UTC days up to `now`. */
export function daysOrMonth(input: { start_date?: string | undefined; end_date?: string | undefined }, now: number): Days {
  const last = input.end_date === undefined ? new Date(now).toISOString().slice(0, 10) : dayOf(input.end_date, 'end_date')
  const first =
    input.start_date === undefined
      ? new Date(Date.parse(`${last}T00:00:00Z`) - 29 * DAY).toISOString().slice(0, 10)
      : dayOf(input.start_date, 'start_date')
  return ordered(first, last)
}

function ordered(first: string, last: string): Days {
  if (last < first) throw bad('end_date', 'end_date lies before start_date.')
  return { first, last }
}

/** The span of UTC days for a filter. */
export function spanOf(days: Days): { from: number; to: number } {
  return { from: Date.parse(`${days.first}T00:00:00Z`), to: Date.parse(`${days.last}T00:00:00Z`) + DAY }
}

/**
 * A moment in UTC: `YYYY-MM-DD HH:MM:SS`, ISO 8601, or a day, which as an end is the whole day. Unix milliseconds. Throws
 * `bad_request` naming `field`.
 */
export function momentOf(text: string | undefined, field: string, end: boolean): number | undefined {
  if (text === undefined || text === '') return undefined
  const day = Date.parse(`${dayOf(text, field)}T00:00:00Z`)
  const time = text.slice(11)
  if (time === '') return end ? day + DAY : day
  const match = /^(\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(Z|[+-]\d{2}:?\d{2})?$/.exec(time)
  const moment = match === null ? Number.NaN : Date.parse(`${text.slice(0, 10)}T${match[1]}${match[2] ?? 'Z'}`)
  if (Number.isNaN(moment)) throw bad(field, `${field} is not a time of the form YYYY-MM-DD HH:MM:SS.`)
  // An end names the last second; all of it is meant.
  return end ? moment + 1000 : moment
}

/** Minutes behind UTC as `Date.getTimezoneOffset` gives them, or the name of a zone. Throws `bad_request`. */
export function zoneOf(text: string | undefined): Zone {
  if (text === undefined || text === '' || text === 'UTC') return 'UTC'
  if (/^[+-]?\d{1,4}$/.test(text)) {
    const behind = Number(text)
    // The farthest zones are 12 hours behind and 14 ahead.
    if (Math.abs(behind) > 14 * 60) throw bad('timezone', 'timezone is more minutes than any zone is away from UTC.')
    return behind === 0 ? 'UTC' : { behind }
  }
  try {
    const { timeZone } = new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions()
    return timeZone === 'UTC' ? 'UTC' : { name: timeZone }
  } catch {
    throw bad('timezone', 'timezone is neither minutes behind UTC nor the name of a zone such as Europe/Berlin.')
  }
}

/** A list as `a,b`; undefined when nothing was given. */
export function listOf(text: string | undefined): string[] | undefined {
  const list = text
    ?.split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
  return list === undefined || list.length === 0 ? undefined : list
}

/** What `identity` may see: admins and viewers everything, others what is theirs and what is used in teams and organizations they administer. */
export async function reachOf(db: Database, identity: Identity): Promise<Reach> {
  if (readsAll(identity)) return 'all'
  const { teams, organizations } = await membershipsOf(db, identity.userId)
  return {
    keyHash: identity.keyHash,
    userId: identity.userId,
    teamIds: [...teams].filter(([, role]) => role === 'admin').map(([id]) => id),
    organizationIds: [...organizations].filter(([, role]) => role === 'org_admin').map(([id]) => id),
  }
}
