import type { TokenUsage } from '../../proto/usage.ts'
import { NO_TOKENS } from '../../proto/usage.ts'

/** No call has a billion tokens; one that says so was counted wrongly, and a person should see it before a budget does. */
const MOST_TOKENS = 1_000_000_000
/** Pixels, characters and milliseconds are many. */
const MOST_UNITS = 1_000_000_000_000
const MOST_CALLS = 32_767
/** Kinds of units or tools in one usage, and characters of a name. */
const MOST_NAMES = 64
const LONGEST_NAME = 128

const COUNTS = ['input', 'output', 'cacheRead', 'cacheWrite', 'cacheWrite1h', 'reasoning', 'audioInput', 'audioOutput'] as const
const OPTIONAL_COUNTS = [
  'imageInput',
  'imageOutput',
  'videoInput',
  'videoOutput',
  'audioCacheRead',
  'audioCacheWrite',
  'imageCacheRead',
  'citation',
  'largestInput',
] as const

/** What is stored of a usage beside the columns of an entry, so that a row can be priced again from the ledger alone. */
type OtherUsage = Omit<Partial<TokenUsage>, 'input' | 'output' | 'cacheRead' | 'cacheWrite' | 'reasoning' | 'estimated'>

/** The first field that is wrong in the usage of an attempt, or null. By hand: it runs for every call served. */
export function usageProblem(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return 'usage'
  const usage = value as Partial<TokenUsage>
  for (const field of COUNTS) {
    if (!count(usage[field], MOST_TOKENS)) return `usage.${field}`
  }
  for (const field of OPTIONAL_COUNTS) {
    if (usage[field] !== undefined && !count(usage[field], MOST_TOKENS)) return `usage.${field}`
  }
  if (usage.toolCalls !== undefined && !counts(usage.toolCalls, MOST_CALLS)) return 'usage.toolCalls'
  if (usage.units !== undefined && !counts(usage.units, MOST_UNITS)) return 'usage.units'
  if (usage.reportedCost !== undefined && !count(usage.reportedCost, Number.MAX_SAFE_INTEGER)) return 'usage.reportedCost'
  if (usage.serviceTier !== undefined && !name(usage.serviceTier)) return 'usage.serviceTier'
  return usage.region === undefined || name(usage.region) ? null : 'usage.region'
}

/** The rarely used part of a usage, or null when there is none of it. */
export function otherUsage(usage: TokenUsage): OtherUsage | null {
  const other: Record<string, unknown> = {}
  let some = false
  for (const field in usage) {
    const value = usage[field as keyof TokenUsage]
    if (COLUMNS.has(field) || value === 0 || value === undefined) continue
    other[field] = value
    some = true
  }
  return some ? (other as OtherUsage) : null
}

/** Fields that an entry has in columns of their own. */
const COLUMNS: ReadonlySet<string> = new Set([
  'input',
  'output',
  'cacheRead',
  'cacheWrite',
  'reasoning',
  'estimated',
] satisfies (keyof TokenUsage)[])

/** The usage an entry was made from. */
export function usageOfEntry(row: {
  inputTokens: number
  outputTokens: number
  cacheReadTokens: number
  /** Of both lives. */
  cacheWriteTokens: number
  reasoningTokens: number
  otherUsage: OtherUsage | null
  estimated: boolean
}): TokenUsage {
  const other = row.otherUsage ?? {}
  return {
    ...NO_TOKENS,
    ...other,
    input: row.inputTokens,
    output: row.outputTokens,
    cacheRead: row.cacheReadTokens,
    cacheWrite: row.cacheWriteTokens - (other.cacheWrite1h ?? 0),
    reasoning: row.reasoningTokens,
    estimated: row.estimated,
  }
}

function counts(value: unknown, most: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  const entries = Object.entries(value)
  return entries.length <= MOST_NAMES && entries.every(([key, amount]) => key.length <= LONGEST_NAME && count(amount, most))
}

function name(value: unknown): boolean {
  return typeof value === 'string' && value.length <= LONGEST_NAME
}

function count(value: unknown, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most
}
