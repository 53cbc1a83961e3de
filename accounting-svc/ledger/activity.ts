import { dollars } from '../dollars.ts'
import type { ActivityRow } from '../sql/activity.ts'

/** Sums of activity; money in nano-dollars. */
export interface Metrics {
  cost: bigint
  input: number
  output: number
  cacheRead: number
  cacheWrite: number
  successful: number
  failed: number
  calls: number
}

export function noMetrics(): Metrics {
  return { cost: 0n, input: 0, output: 0, cacheRead: 0, cacheWrite: 0, successful: 0, failed: 0, calls: 0 }
}

export function addMetrics(sum: Metrics, row: ActivityRow): void {
  sum.cost += BigInt(row.cost_nano)
  sum.input += row.input_tokens
  sum.output += row.output_tokens
  sum.cacheRead += row.cache_read_tokens
  sum.cacheWrite += row.cache_write_tokens
  sum.successful += row.successful_calls
  sum.failed += row.failed_calls
  sum.calls += row.calls
}

/** Kinds of groups a day is broken down into (surface reference §1.9). */
const BREAKDOWNS = ['models', 'model_groups', 'providers', 'endpoints', 'api_keys', 'entities'] as const
type Breakdown = (typeof BREAKDOWNS)[number]
const NAME_OF: Readonly<Record<Breakdown, (row: ActivityRow) => string>> = {
  models: (row) => row.model,
  model_groups: (row) => row.model_group,
  providers: (row) => row.provider,
  endpoints: (row) => row.endpoint,
  api_keys: (row) => row.key_hash,
  entities: (row) => row.entity,
}

interface Group {
  metrics: Metrics
  keys: Map<string, Metrics>
}

/** What a row adds to. A complete row adds to all; rows that were added up over keys or owners do not know theirs. */
export interface Parts {
  /** The day's own sums and its models, model groups, providers and endpoints. */
  sums: boolean
  /** The day's keys, and each group's sums by key. */
  keys: boolean
  entities: boolean
}
export const WHOLE: Parts = { sums: true, keys: true, entities: true }

/** What names mean that the sums know by id only. */
export interface Names {
  keys: ReadonlyMap<string, { key_alias: string | null; team_id: string | null }>
  entities: ReadonlyMap<string, string>
  /** What the name of an owner is called: `team_alias`, … */
  entityField: string
}

/** Gathers activity into days and their breakdowns. Pure: the order rows come in only decides the order of names. */
export function createActivity() {
  const days = new Map<string, { metrics: Metrics; groups: Record<Breakdown, Map<string, Group>> }>()
  const total = noMetrics()

  function dayOf(name: string) {
    let day = days.get(name)
    if (day === undefined) {
      const groups = Object.fromEntries(BREAKDOWNS.map((kind) => [kind, new Map()])) as Record<Breakdown, Map<string, Group>>
      day = { metrics: noMetrics(), groups }
      days.set(name, day)
    }
    return day
  }

  return {
    add(row: ActivityRow, parts: Parts = WHOLE): void {
      const day = dayOf(row.day)
      if (parts.sums) {
        addMetrics(total, row)
        addMetrics(day.metrics, row)
      }
      for (const kind of BREAKDOWNS) {
        const name = kind === 'entities' ? row.entity || UNASSIGNED : NAME_OF[kind](row)
        const own = kind === 'api_keys' ? parts.keys : kind === 'entities' ? parts.entities : parts.sums
        const byKey = parts.keys && kind !== 'api_keys' && (kind !== 'entities' || parts.entities)
        if (name === '' || !(own || byKey)) continue
        const group = day.groups[kind].get(name) ?? { metrics: noMetrics(), keys: new Map<string, Metrics>() }
        day.groups[kind].set(name, group)
        if (own) addMetrics(group.metrics, row)
        if (!byKey) continue
        const key = group.keys.get(row.key_hash) ?? noMetrics()
        group.keys.set(row.key_hash, key)
        addMetrics(key, row)
      }
    },
    total,
    /** The `results` of a report, latest day first. */
    results(names: Names): unknown[] {
      return [...days]
        .toSorted(([a], [b]) => (a < b ? 1 : -1))
        .map(([date, day]) => ({
          date,
          metrics: showMetrics(day.metrics),
          breakdown: {
            mcp_servers: {},
            ...Object.fromEntries(
              BREAKDOWNS.map((kind) => [
                kind,
                Object.fromEntries([...day.groups[kind]].map(([name, group]) => [name, showGroup(kind, name, group, names)])),
              ]),
            ),
          },
        }))
    },
  }
}

/** The owner of calls that have none. */
const UNASSIGNED = 'Unassigned'

function showGroup(kind: Breakdown, name: string, group: Group, names: Names): Record<string, unknown> {
  if (kind === 'api_keys') return { metrics: showMetrics(group.metrics), metadata: keyMetadata(name, names) }
  return {
    metrics: showMetrics(group.metrics),
    metadata: kind === 'entities' ? { [names.entityField]: names.entities.get(name) ?? name } : {},
    api_key_breakdown: Object.fromEntries(
      [...group.keys].map(([key, metrics]) => [key, { metrics: showMetrics(metrics), metadata: keyMetadata(key, names) }]),
    ),
  }
}

function keyMetadata(key: string, names: Names): Record<string, unknown> {
  const known = names.keys.get(key)
  return { key_alias: known?.key_alias ?? null, team_id: known?.team_id ?? null }
}

export function showMetrics(sum: Metrics): Record<string, unknown> {
  return {
    spend: dollars(sum.cost),
    prompt_tokens: sum.input,
    completion_tokens: sum.output,
    cache_read_input_tokens: sum.cacheRead,
    cache_creation_input_tokens: sum.cacheWrite,
    total_tokens: sum.input + sum.output,
    successful_requests: sum.successful,
    failed_requests: sum.failed,
    api_requests: sum.calls,
  }
}

/** The `metadata` of a report. */
export function showTotals(sum: Metrics, page: { page: number; totalPages: number; hasMore: boolean }): Record<string, unknown> {
  return {
    total_spend: dollars(sum.cost),
    total_prompt_tokens: sum.input,
    total_completion_tokens: sum.output,
    total_tokens: sum.input + sum.output,
    total_api_requests: sum.calls,
    total_successful_requests: sum.successful,
    total_failed_requests: sum.failed,
    total_cache_read_input_tokens: sum.cacheRead,
    total_cache_creation_input_tokens: sum.cacheWrite,
    page: page.page,
    total_pages: page.totalPages,
    has_more: page.hasMore,
  }
}
