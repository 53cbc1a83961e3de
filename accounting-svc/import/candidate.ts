import type { OwnerKind } from '../ledger/scopes.ts'
import type { TargetTable } from '../sql/import-target.ts'

/** A row of ours that stands for one of LiteLLM's. */
export interface Candidate {
  table: TargetTable
  /** Values of its key; two are joined by a colon. */
  id: string
  /** Every column that is written: texts, numbers, booleans, JSON, and times as ISO 8601. */
  row: Record<string, unknown>
  /** Rows that carry its limits: where one is kept out, so is this one, which would be without them. */
  needs: readonly Need[]
  /** Null = it spends nothing. */
  owner: Owner | null
  /** Only where there is none yet: nothing is known of it but its id. */
  filler?: true
}

export interface Need {
  table: TargetTable
  id: string
}

/** Somebody who has spent. */
export interface Owner {
  kind: OwnerKind
  /** Name of the row in `spend` (proto/limits.ts). */
  scope: string
  /** Nano-dollars in the present window; null where LiteLLM does not say. */
  spend: number | null
  /** In whose sums its calls count too. */
  userId: string | null
  teamId: string | null
  organizationId: string | null
  projectId: string | null
  window: OwnerWindow
}

/** When what was spent goes back to 0. */
export interface OwnerWindow {
  /** Of its own; else that of the budget row holds. */
  duration: string | null
  budgetId: string | null
  /** Unix milliseconds, where LiteLLM says so. */
  resetAt: number | null
  /** Budgets per model and further windows, as stored. */
  models: Record<string, unknown>
  windows: unknown
}

/** A row that is not imported, and why. */
export interface Skipped {
  table: TargetTable
  id: string
  reason: string
}

/** Longer ids are cut in the ledger (ledger/entries.ts), so that what they spend would not be found under them. */
const LONGEST_ID = 256

/** Why a row cannot be imported. */
export class Unfit extends Error {}

/** An id as it is. Throws Unfit for none, and for one that the ledger could not hold. */
export function idOf(id: string | null): string {
  if (id === null || id === '') throw new Unfit('it has no id')
  if (id.length > LONGEST_ID) throw new Unfit(`its id is longer than ${LONGEST_ID} characters`)
  return id
}

/** An owner of nothing but itself. */
export function soleOwner(kind: OwnerKind, scope: string, spend: number | null, window: Partial<OwnerWindow> = {}): Owner {
  return {
    kind,
    scope,
    spend,
    userId: null,
    teamId: null,
    organizationId: null,
    projectId: null,
    window: { duration: null, budgetId: null, resetAt: null, models: {}, windows: null, ...window },
  }
}

/** The rows that are named, where they are. */
export function needsOf(named: Partial<Record<TargetTable, string | null>>): Need[] {
  return Object.entries(named).flatMap(([table, id]) => (id === null ? [] : [{ table: table as TargetTable, id }]))
}
