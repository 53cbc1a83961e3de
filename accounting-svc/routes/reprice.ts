import type { Prices } from '../../proto/deployment.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Spent } from '../../shared/counters/counters.ts'
import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import { dollars } from '../dollars.ts'
import { auditEntry } from '../identity/audit.ts'
import { zoneOf } from '../identity/budgets.ts'
import { tokenOf } from '../identity/keys.ts'
import { writerOf } from '../identity/writer.ts'
import { type RepriceReport, reprice } from '../ledger/reprice.ts'
import type { PriceBook, PricedAttempt } from '../models/price-book.ts'
import { readPrices } from '../models/prices.ts'
import { audit } from '../sql/audit.ts'
import type { RepriceCursor, RepriceFilter } from '../sql/reprice.ts'
import { dates, daysOf, spanOf } from './report-input.ts'
import { type Route, route, z } from './route.ts'

export interface RepriceRoutesDeps {
  db: Database
  book: PriceBook
  clock: Pick<Clock, 'now'>
  config: () => Config
  /** Told what scopes have spent after each transaction, for the counters. */
  onSpent?: ((spent: readonly Spent[]) => Promise<void> | void) | undefined
}

const input = z.object({
  ...dates,
  model: z.string().optional().describe('Upstream model'),
  model_group: z.string().optional(),
  model_id: z.string().optional().describe('Deployment'),
  provider: z.string().optional(),
  api_key: z.string().optional(),
  user_id: z.string().optional(),
  team_id: z.string().optional(),
  organization_id: z.string().optional(),
  rate_version: z.string().optional().describe('Prices of this version; default those that hold now for the time of each call'),
  prices: z
    .looseObject({})
    .optional()
    .describe('Prices under the names of the configuration, for everything that is priced again'),
  dry_run: z.boolean().default(true),
  id: z
    .string()
    .regex(/^[\w.:-]{1,100}$/, 'expected letters, digits and . : _ -')
    .optional()
    .describe('Names the repricing; the same id books nothing twice'),
  after: z.string().optional().describe('`next` of an answer that was not complete'),
  max_entries: z.number().int().min(1).max(5_000_000).default(500_000),
})
type Input = z.output<typeof input>

/** /spend/reprice: what a period costs at other prices, and the difference as adjustments in the ledger. */
export function repriceRoutes(deps: RepriceRoutesDeps): Route[] {
  return [
    route({
      method: 'POST',
      path: '/spend/reprice',
      tag: 'prices',
      summary: 'Price a period again: report what changes, or book it as adjustments',
      access: 'admin',
      input,
      output: z.looseObject({
        id: z.string(),
        dry_run: z.boolean(),
        complete: z.boolean(),
        next: z.string().nullable(),
        results: z.array(
          z.object({
            date: z.string(),
            model: z.string(),
            api_key: z.string(),
            entries: z.number(),
            old_spend: z.number(),
            new_spend: z.number(),
            difference: z.number(),
          }),
        ),
      }),
      async handle(call) {
        const given = call.input
        const prices = pricesFor(deps.book, given)
        const id = given.id ?? `reprice-${rowId()}`
        const { from, to } = spanOf(daysOf(given))
        const filter = filterOf(given, from, to)
        const after = given.after === undefined ? null : cursorIn(given.after)
        if (!given.dry_run) {
          const { actor, changedBy } = writerOf(call)
          await deps.db.transaction((tx) => audit(tx, auditEntry(actor, changedBy, 'created', 'ledger', id, null, given)))
        }
        const report = await reprice(
          { db: deps.db, zone: zoneOf(deps.config()), onSpent: deps.onSpent },
          { id, filter, prices, dryRun: given.dry_run, after, most: given.max_entries, signal: call.signal },
        )
        return reportObject(id, given.dry_run, report)
      },
    }),
  ]
}

/** Throws GatewayError `bad_request` for prices that are none, or a version that is not known. */
function pricesFor(book: PriceBook, given: Input): (attempt: PricedAttempt) => Prices | null {
  if (given.prices !== undefined) {
    if (given.rate_version !== undefined) throw bad('rate_version', 'Give rate_version or prices, not both.')
    const prices = readPrices('reprice', given.prices, null)
    return () => prices
  }
  if (given.rate_version === undefined) return (attempt) => book.pricesOf(attempt)
  const found = book.atVersion(given.rate_version)
  if (found === undefined) {
    const text =
      'No prices of this rate_version are known: it is neither the installed catalogue’s, nor configured, nor among /model/prices.'
    throw bad('rate_version', text)
  }
  return found
}

function filterOf(given: Input, from: number, to: number): RepriceFilter {
  const filter: RepriceFilter = { from, to }
  if (given.model !== undefined) filter.model = given.model
  if (given.model_group !== undefined) filter.modelGroup = given.model_group
  if (given.model_id !== undefined) filter.deploymentId = given.model_id
  if (given.provider !== undefined) filter.provider = given.provider
  if (given.api_key !== undefined) filter.keyHash = tokenOf(given.api_key)
  if (given.user_id !== undefined) filter.userId = given.user_id
  if (given.team_id !== undefined) filter.teamId = given.team_id
  if (given.organization_id !== undefined) filter.organizationId = given.organization_id
  return filter
}

function reportObject(id: string, dryRun: boolean, report: RepriceReport): Record<string, unknown> {
  const old = report.rows.reduce((sum, row) => sum + row.old, 0n)
  const now = report.rows.reduce((sum, row) => sum + row.new, 0n)
  return {
    id,
    dry_run: dryRun,
    complete: report.next === null,
    next: report.next === null ? null : cursorText(report.next),
    entries: report.entries,
    changed: report.changed,
    booked: report.booked,
    skipped: report.skipped,
    unpriced: report.unpriced,
    old_spend: dollars(old),
    new_spend: dollars(now),
    difference: dollars(now - old),
    results: report.rows.map((row) => ({
      date: row.day,
      model: row.model,
      api_key: row.keyHash,
      entries: row.entries,
      old_spend: dollars(row.old),
      new_spend: dollars(row.new),
      difference: dollars(row.new - row.old),
    })),
  }
}

function cursorText({ startedAt, take, attempt, callId }: RepriceCursor): string {
  return Buffer.from(JSON.stringify([startedAt, take, attempt, callId])).toString('base64url')
}

function cursorIn(text: string): RepriceCursor {
  try {
    const [startedAt, take, attempt, callId] = z
      .tuple([z.number().int(), z.number().int(), z.number().int(), z.string()])
      .parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')))
    return { startedAt, take, attempt, callId }
  } catch {
    throw bad('after', 'after is not the `next` of an answer.')
  }
}

function bad(param: string, text: string): GatewayError {
  return new GatewayError('bad_request', text, { type: 'bad_request_error', param })
}
