import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import { scopesOf } from '../ledger/scopes.ts'
import { openSource, SOURCE_TABLES, type Source, type SourceName, type SourceRows } from '../sql/import-source.ts'
import { auditImport, findOpenings, lockImports } from '../sql/import-target.ts'
import type { Owner } from './candidate.ts'
import { mapRows } from './map-rows.ts'
import { openingEntries } from './openings.ts'
import { planImport } from './plan.ts'
import { type ImportReport, type LeftBehind, reportOn } from './report.ts'
import { bookOpenings, scheduleOwners, writeRows } from './write.ts'

export interface ImportRequest {
  /** LiteLLM's database, and the schema its tables are in. */
  source: Database
  schema: string
  /** Ours, brought up to date. */
  target: Database
  /** Write. Else nothing is, and the report says what would be. */
  apply: boolean
  /** Leave rows out that are here with other content, instead of refusing to write anything. */
  skipConflicts: boolean
  /** Unix milliseconds. */
  now: number
  /** IANA name: of budget windows that LiteLLM does not say the end of. */
  zone: string
}

/**
 * Copies who may call, with which limits and what they have spent, from a LiteLLM database, in one transaction. What an earlier import has
 * written is left as it is. Throws GatewayError `bad_request` when there is no LiteLLM database.
 */
export async function importLitellm(request: ImportRequest): Promise<ImportReport> {
  const { source, schema, target, now } = request
  const { rows, left } = await source.transaction(async (tx) => {
    const opened = await openSource(tx, schema)
    if (opened === null) {
      const { table } = SOURCE_TABLES.keys
      throw new GatewayError('bad_request', `This is no LiteLLM database: its schema "${schema}" has no table "${table}".`)
    }
    return { rows: await readAll(opened), left: await leftBehind(opened) }
  })
  const mapped = mapRows(rows, now)
  const runId = rowId()
  return target.transaction(async (tx) => {
    if (request.apply) await lockImports(tx)
    const planned = await planImport(tx, mapped.candidates, mapped.skipped)
    const earlier = await findOpenings(tx)
    const owners = planned.flatMap(({ candidate, opens }) => (opens && candidate.owner !== null ? [candidate.owner] : []))
    if (mapped.proxy !== null && earlier.length === 0) owners.push(mapped.proxy)
    const opened = sumsOf(earlier)
    const entries = openingEntries(owners, runId, now, opened)
    const changes = planned.some(({ verdict, opens }) => verdict === 'new' || opens)
    const refused = !request.skipConflicts && planned.some(({ verdict }) => verdict === 'conflict')
    const write = request.apply && changes && !refused
    if (write) {
      await writeRows(tx, planned, runId)
      await scheduleOwners(tx, owners, now, request.zone)
      await bookOpenings(tx, owners, entries, opened)
    }
    const booked = sumsOf([...earlier, ...entries])
    const report = reportOn({ rows, mapped, planned, left, booked, applied: write, refused })
    if (write) await auditImport(tx, runId, now, { tables: report.tables.map(({ table, written }) => ({ table, written })) })
    // What the report says of the ledger is read from it.
    if (write) requireBooked(owners, sumsOf(await findOpenings(tx)))
    return report
  })
}

async function readAll(source: Source): Promise<SourceRows> {
  const rows: Partial<Record<SourceName, unknown[]>> = {}
  for (const name of Object.keys(SOURCE_TABLES) as SourceName[]) rows[name] = await source.rows(name)
  return rows as SourceRows
}

async function leftBehind(source: Source): Promise<LeftBehind> {
  return {
    models: await source.names('models'),
    credentials: await source.names('credentials'),
    config: await source.names('config'),
    tables: await source.otherTables(),
  }
}

type Opening = Parameters<typeof scopesOf>[0] & { cost: number }

/** What opening entries say of every scope, nano-dollars. */
function sumsOf(entries: readonly Opening[]): Map<string, bigint> {
  const sums = new Map<string, bigint>()
  for (const entry of entries) {
    for (const scope of scopesOf(entry)) sums.set(scope, (sums.get(scope) ?? 0n) + BigInt(entry.cost))
  }
  return sums
}

function requireBooked(owners: readonly Owner[], booked: ReadonlyMap<string, bigint>): void {
  for (const { scope, spend } of owners) {
    if (spend === null || (booked.get(scope) ?? 0n) === BigInt(spend)) continue
    throw new GatewayError('internal', `The ledger would not say of ${scope} what LiteLLM says. Nothing was written.`)
  }
}
