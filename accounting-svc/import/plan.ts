import type { Transaction } from '../../shared/db/db.ts'
import { findExisting, findImported, findTaken, type TargetTable } from '../sql/import-target.ts'
import type { Candidate, Skipped } from './candidate.ts'

/**
 * What becomes of a row:
 *   new        not here yet: it is written
 *   same       here already and says the same
 *   kept       written by an earlier import and changed since, here or there: ours stays
 *   gone       written by an earlier import and deleted (a key: or rotated) here since: it does not come back
 *   conflict   here under the same id, or something of it belongs to another row here, and no import wrote that
 *   kept out   what carries its limits is not imported, and it would be without them
 */
export type Verdict = 'new' | 'same' | 'kept' | 'gone' | 'conflict' | 'kept out'

export interface Planned {
  candidate: Candidate
  verdict: Verdict
  /** Its balance is opened by this import. */
  opens: boolean
  /** What there is to say of it. */
  reason: string
}

/** Rows looked up at once. */
const PAGE = 500

/** Holds what is to be imported against what is here. */
export async function planImport(
  tx: Transaction,
  candidates: readonly Candidate[],
  skipped: readonly Skipped[],
): Promise<Planned[]> {
  const missing = new Set(skipped.map(nameOf))
  const planned: Planned[] = []
  for (const [table, rows] of Map.groupBy(candidates, (candidate) => candidate.table)) {
    for (let from = 0; from < rows.length; from += PAGE) {
      for (const plan of await planPage(tx, table, rows.slice(from, from + PAGE), missing)) {
        if (plan.verdict === 'gone' || plan.verdict === 'kept out' || plan.reason.endsWith(ELSEWHERE))
          missing.add(nameOf(plan.candidate))
        planned.push(plan)
      }
    }
  }
  return planned
}

const ELSEWHERE = 'belongs to another row here'

async function planPage(
  tx: Transaction,
  table: TargetTable,
  page: readonly Candidate[],
  missing: ReadonlySet<string>,
): Promise<Planned[]> {
  const rows = page.map(({ row }) => row)
  const existing = new Map((await findExisting(tx, table, rows)).map((found) => [found.index, found]))
  const taken = new Map((await findTaken(tx, table, rows)).map(({ index, columns }) => [index, columns]))
  const imported = await findImported(
    tx,
    table,
    page.map(({ id }) => id),
  )
  return page.map((candidate, index): Planned => {
    const here = existing.get(index)
    const before = imported.has(candidate.id)
    const as = (verdict: Verdict, reason = '', opens = false): Planned => ({ candidate, verdict, reason, opens })
    if (here === undefined && before) return as('gone', 'it was deleted or rotated here since it was imported')
    if (here !== undefined && (here.differs.length === 0 || candidate.filler === true))
      return as('same', '', !before && candidate.filler !== true)
    if (here !== undefined && before) return as('kept', here.differs.join(', '))
    if (here !== undefined && !here.blank) return as('conflict', `it is here with another ${here.differs.join(', ')}`)
    const need = candidate.needs.find((named) => missing.has(nameOf(named)))
    if (need !== undefined) return as('kept out', `what limits it is not imported: ${need.table} ${need.id}`)
    const columns = taken.get(index)
    if (columns !== undefined) return as('conflict', `its ${columns} ${ELSEWHERE}`)
    return as('new', '', true)
  })
}

function nameOf({ table, id }: { table: TargetTable; id: string }): string {
  return `${table} ${id}`
}
