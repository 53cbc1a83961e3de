import { formatDollars } from '../../shared/money.ts'
import type { SourceName, SourceRows } from '../sql/import-source.ts'
import type { TargetTable } from '../sql/import-target.ts'
import type { Owner } from './candidate.ts'
import type { Mapped } from './map-rows.ts'
import type { Planned, Verdict } from './plan.ts'

export interface ImportReport {
  /** Something was written. */
  applied: boolean
  /** Nothing was written, because of conflicts. */
  refused: boolean
  /** Rows that are, or would be, written. */
  changes: number
  tables: TableReport[]
  spend: SpendReport[]
  notes: string[]
  left: LeftBehind
}

export interface TableReport {
  table: TargetTable
  /** Rows at LiteLLM. */
  read: number
  written: number
  same: number
  /** Imported before and changed since. */
  kept: number
  conflicts: { id: string; reason: string }[]
  skipped: { reason: string; ids: string[] }[]
}

/** What is not imported, by name. */
export interface LeftBehind {
  models: string[]
  credentials: string[]
  config: string[]
  tables: string[]
}

/** What owners of a kind have spent, nano-dollars. */
export interface SpendReport {
  kind: Owner['kind']
  owners: number
  theirs: bigint
  ours: bigint
}

/** Of every table, the source of its rows. */
const READ_FROM: Readonly<Record<TargetTable, SourceName>> = {
  budgets: 'budgets',
  organizations: 'organizations',
  users: 'users',
  teams: 'teams',
  team_members: 'teamMembers',
  organization_members: 'organizationMembers',
  projects: 'projects',
  customers: 'customers',
  tags: 'tags',
  keys: 'keys',
  deprecated_keys: 'deprecatedKeys',
  jwt_key_mappings: 'jwtMappings',
}
const TABLES = Object.keys(READ_FROM) as TargetTable[]

export function reportOn(found: {
  rows: SourceRows
  mapped: Mapped
  planned: readonly Planned[]
  left: LeftBehind
  /** What the opening entries say of every scope. */
  booked: ReadonlyMap<string, bigint>
  applied: boolean
  refused: boolean
}): ImportReport {
  const { rows, mapped, planned, left, booked } = found
  const tables = TABLES.map((table) => tableReport(table, rows, mapped, planned))
  return {
    applied: found.applied,
    refused: found.refused,
    changes: planned.filter(({ verdict, opens }) => verdict === 'new' || opens).length,
    tables,
    spend: spendReports(mapped, planned, booked),
    notes: mapped.notes,
    left,
  }
}

function tableReport(table: TargetTable, rows: SourceRows, mapped: Mapped, planned: readonly Planned[]): TableReport {
  const ours = planned.filter(({ candidate }) => candidate.table === table)
  const count = (verdict: Verdict): number => ours.filter((plan) => plan.verdict === verdict).length
  const unfit = mapped.skipped.filter((skip) => skip.table === table)
  const out = ours.filter(({ verdict }) => verdict === 'gone' || verdict === 'kept out')
  const skipped = Map.groupBy(
    [...unfit, ...out.map(({ candidate, reason }) => ({ id: candidate.id, reason }))],
    ({ reason }) => reason,
  )
  // Members are read from their teams.
  const read = table === 'team_members' ? ours.length + unfit.length : rows[READ_FROM[table]].length
  return {
    table,
    read,
    written: count('new'),
    same: count('same'),
    kept: count('kept'),
    conflicts: ours
      .filter(({ verdict }) => verdict === 'conflict')
      .map(({ candidate, reason }) => ({ id: candidate.id, reason })),
    skipped: [...skipped].map(([reason, list]) => ({ reason, ids: list.map(({ id }) => id) })),
  }
}

function spendReports(mapped: Mapped, planned: readonly Planned[], booked: ReadonlyMap<string, bigint>): SpendReport[] {
  const reports = new Map<string, SpendReport>()
  const owners = planned.flatMap(({ candidate: { owner }, verdict }) =>
    owner !== null && (verdict === 'new' || verdict === 'same' || verdict === 'kept') ? [owner] : [],
  )
  for (const { kind, scope, spend } of mapped.proxy === null ? owners : [...owners, mapped.proxy]) {
    if (spend === null) continue
    const report = reports.get(kind) ?? { kind, owners: 0, theirs: 0n, ours: 0n }
    report.owners += 1
    report.theirs += BigInt(spend)
    report.ours += booked.get(scope) ?? 0n
    reports.set(kind, report)
  }
  return [...reports.values()]
}

/** Ids named for one reason; the rest is counted. */
const NAMED = 5

/** The report for a terminal. Hashes of keys are shortened: they are enough to find a key by and too little to be mistaken for one. */
export function formatReport(report: ImportReport): string {
  const lines = [table(['', 'read', 'new', 'same', 'changed since', 'conflicts', 'skipped'], report.tables.map(tableRow)), '']
  const spend = report.spend.map(({ kind, owners, theirs, ours }) => [kind, String(owners), dollars(theirs), dollars(ours)])
  lines.push(table(['spent (dollars)', 'owners', 'at LiteLLM', 'in the ledger'], spend))
  if (report.spend.some(({ theirs, ours }) => theirs !== ours))
    lines.push('Where the two differ, LiteLLM has served calls since the import: what those cost is not carried over.')
  for (const { table: name, conflicts, skipped } of report.tables) {
    for (const { id, reason } of conflicts.slice(0, 50)) lines.push(`Conflict: ${name} ${shown(id)}: ${reason}.`)
    if (conflicts.length > 50) lines.push(`Conflict: ${name}: ${conflicts.length - 50} more.`)
    for (const { reason, ids } of skipped) lines.push(`Skipped: ${name}: ${reason}: ${listed(ids.map(shown))}.`)
  }
  for (const note of report.notes) lines.push(`Note: ${note}`)
  lines.push(...leftLines(report.left), '', outcome(report))
  return lines.join('\n')
}

function outcome({ applied, refused, changes, tables }: ImportReport): string {
  const conflicts = tables.reduce((sum, row) => sum + row.conflicts.length, 0)
  if (changes === 0) return 'Nothing to import: what can be imported is here already. Nothing was written.'
  if (applied) {
    return `${changes} rows were written in one transaction. A running gateway knows them within a few seconds; restarting it is not needed.`
  }
  if (refused) {
    return `Nothing was written: ${conflicts} rows are here with other content and no import wrote them. Change one side, or leave them out with --skip-conflicts.`
  }
  return `This was a dry run: nothing was written. ${changes} rows would be; --apply writes them.`
}

function leftLines({ models, credentials, config, tables }: LeftBehind): string[] {
  const lines: string[] = []
  if (models.length > 0)
    lines.push(
      `Not imported: ${models.length} models of LiteLLM's database (${listed(models)}): their secrets are sealed with its salt key. Name them in config.yaml.`,
    )
  if (credentials.length > 0)
    lines.push(`Not imported: ${credentials.length} credentials (${listed(credentials)}), sealed with its salt key.`)
  if (config.length > 0)
    lines.push(
      `Not imported: settings stored from its dashboard (${listed(config)}). What you changed there belongs into config.yaml.`,
    )
  if (tables.length > 0) lines.push(`Not imported: ${listed(tables, 50)}.`)
  lines.push('Not imported: passwords (send invitations), and the calls themselves: totals come as opening balances.')
  return lines
}

function tableRow({ table: name, read, written, same, kept, conflicts, skipped }: TableReport): string[] {
  const out = skipped.reduce((sum, { ids }) => sum + ids.length, 0)
  return [name, ...[read, written, same, kept, conflicts.length, out].map(String)]
}

function dollars(nano: bigint): string {
  return formatDollars(nano)
}

function listed(names: readonly string[], most = NAMED): string {
  const rest = names.length - most
  return names.slice(0, most).join(', ') + (rest > 0 ? ` and ${rest} more` : '')
}

function shown(id: string): string {
  return id.replace(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, '$1…')
}

/** Columns, numbers to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd()
  return all.map(line).join('\n')
}
