import type { Prices } from '../../proto/deployment.ts'
import { costByHand } from './plan.ts'
import type { Charge, Served } from './provider.ts'

/** A ledger entry of the run, as far as it is compared. Nano-dollars. */
export interface ProvenEntry {
  callId: string
  take: number
  attempt: number
  entry: string
  outcome: string
  cost: number
  /** Something was used: the entry stands for what a provider bills. */
  billed: boolean
  estimated: boolean
  calls: number
  inputTokens: number
  outputTokens: number
}

/** What is added up of the ledger's entries; `nothing` is 0. */
export type Measure = 'cost' | 'calls' | 'input' | 'output' | 'nothing'

/** A number that somebody else keeps and the ledger's entries must add up to. */
export interface Kept {
  what: string
  measure: Measure
  found: number
}

export interface Evidence {
  /** Nano-dollars. */
  budget: number
  prices: Prices
  /** What the provider says, by call. */
  served: ReadonlyMap<string, Served>
  /** Calls whose client got a whole answer. */
  answered: ReadonlySet<string>
  entries: readonly ProvenEntry[]
  kept: readonly Kept[]
}

/** The four numbers, all 0 when well; what they are made of; and where sums differ. Nano-dollars and counts. */
export interface Verdict {
  overspend: number
  /** What the provider bills and the ledger does not know. */
  lost: number
  /** Billed entries beyond what the provider bills. */
  duplicate: number
  /** Sum of |ledger − worked out by hand| over all usage the provider stated. */
  costError: number
  spent: number
  billed: number
  /** Attempts that ended before their usage was stated: billed by estimate, so that there is nothing to compare their cost with. */
  estimated: { entries: number; cost: number }
  /**
   * Of those, requests that the provider never saw: the client left, or a router died, while they were on their way. Who cannot know bills
   * what it may cost.
   */
  presumed: number
  differences: { what: string; expected: number; found: number }[]
  /** The first call ids behind each number. */
  offenders: { lost: string[]; duplicate: string[]; costError: string[] }
}

/** Call ids told of each kind. */
const TOLD = 10

/** Compares what the provider says it served with what the gateway's books say. Pure. */
export function compare({ budget, prices, served, answered, entries, kept }: Evidence): Verdict {
  const totals = addUp(entries)
  const verdict: Verdict = {
    overspend: Math.max(0, totals.cost - budget),
    lost: 0,
    duplicate: 0,
    costError: 0,
    spent: totals.cost,
    billed: 0,
    estimated: { entries: 0, cost: 0 },
    presumed: 0,
    differences: kept
      .map(({ what, measure, found }) => ({ what, expected: totals[measure], found }))
      .filter(({ expected, found }) => expected !== found),
    offenders: { lost: [], duplicate: [], costError: [] },
  }
  const byCall = new Map<string, ProvenEntry[]>()
  for (const entry of standing(entries)) {
    const list = byCall.get(entry.callId)
    if (list === undefined) byCall.set(entry.callId, [entry])
    else list.push(entry)
  }
  for (const callId of new Set([...served.keys(), ...byCall.keys()])) {
    judge(verdict, callId, served.get(callId)?.charges ?? [], byCall.get(callId) ?? [], answered.has(callId), prices)
  }
  return verdict
}

/** Entries that still count: a reversal takes back an unsettled entry of the same attempt. */
function standing(entries: readonly ProvenEntry[]): ProvenEntry[] {
  const reversed = new Set(entries.filter(({ entry }) => entry === 'reversal').map(nameOf))
  return entries.filter(
    (entry) => entry.billed && entry.entry !== 'reversal' && !(entry.entry === 'unsettled' && reversed.has(nameOf(entry))),
  )
}

function nameOf({ callId, take, attempt }: ProvenEntry): string {
  return `${callId} ${take} ${attempt}`
}

function judge(
  verdict: Verdict,
  callId: string,
  charges: readonly Charge[],
  entries: readonly ProvenEntry[],
  answered: boolean,
  prices: Prices,
): void {
  const exact = entries.filter((entry) => !isEstimate(entry))
  const estimates = entries.filter(isEstimate)
  verdict.billed += entries.length
  verdict.estimated.entries += estimates.length
  for (const { cost } of estimates) verdict.estimated.cost += cost

  // An estimate of another attempt must not stand in for the entry of a whole answer.
  const unbilled = answered && charges.length > 0 && exact.length === 0 ? 1 : 0
  add(verdict, 'lost', callId, Math.max(charges.length - entries.length, unbilled))
  // An attempt is one request, so two entries of one are one too many, whatever they are.
  const repeated = entries.length - new Set(entries.map(nameOf)).size
  const duplicate = Math.max(0, repeated, exact.length - charges.length)
  add(verdict, 'duplicate', callId, duplicate)
  verdict.presumed += Math.max(0, entries.length - charges.length - duplicate)

  const stated = charges.flatMap((charge) => (charge.stated === null ? [] : [costByHand(charge.stated, prices)])).sort(ascending)
  const costs = exact.map(({ cost }) => cost).sort(ascending)
  let error = 0
  for (const [index, cost] of costs.slice(0, charges.length).entries()) error += Math.abs(cost - (stated[index] ?? 0))
  add(verdict, 'costError', callId, error)
}

/** An answer that was whole states its usage; of one that was not, the gateway may have read no statement. */
function isEstimate({ estimated, outcome }: ProvenEntry): boolean {
  return estimated && outcome !== 'success'
}

function add(verdict: Verdict, kind: keyof Verdict['offenders'], callId: string, amount: number): void {
  if (amount <= 0) return
  verdict[kind] += amount
  if (verdict.offenders[kind].length < TOLD) verdict.offenders[kind].push(callId)
}

function addUp(entries: readonly ProvenEntry[]): Record<Measure, number> {
  const totals = { cost: 0, calls: 0, input: 0, output: 0, nothing: 0 }
  for (const { cost, calls, inputTokens, outputTokens } of entries) {
    totals.cost += cost
    totals.calls += calls
    totals.input += inputTokens
    totals.output += outputTokens
  }
  return totals
}

function ascending(a: number, b: number): number {
  return a - b
}
