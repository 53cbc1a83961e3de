import type { Transaction } from '../../shared/db/db.ts'

/** Which entries a provider's export is compared with. */
export interface BookedFilter {
  /** As the ledger names it. */
  provider: string
  /** Days in UTC, `YYYY-MM-DD`, both included. */
  first: string
  last: string
  /** Only these deployments: those of the account that the export is of. */
  deploymentIds?: readonly string[] | undefined
  /** The provider's key behind deployments and behind our keys, as pairs of our id and its id. */
  deploymentKeys: readonly (readonly [string, string])[]
  ourKeys: readonly (readonly [string, string])[]
}

/** What the ledger holds for a day, a model as the provider named it, and a key of the provider ('' = not known). */
export interface BookedSum {
  day: string
  model: string
  key: string
  /** Nano-dollars as decimal text. */
  cost_nano: string
  input_tokens: number
  output_tokens: number
  cache_read_tokens: number
  cache_write_tokens: number
}

/** Bookings of a provider per UTC day, model and key. Read from the ledger: the daily sums know neither deployments nor reported names. */
export function sumBooked(db: Transaction, filter: BookedFilter): Promise<BookedSum[]> {
  const values: unknown[] = [
    filter.provider,
    filter.first,
    filter.last,
    ...pairs(filter.deploymentKeys),
    ...pairs(filter.ourKeys),
  ]
  const narrowed =
    filter.deploymentIds === undefined ? '' : `and l.deployment_id = any($${values.push(filter.deploymentIds)}::text[])`
  return db.query<BookedSum>(
    `select (l.started_at at time zone 'UTC')::date as day, coalesce(nullif(l.reported_model, ''), l.model, '') as model,
       coalesce(k.theirs, d.theirs, '') as key, sum(l.cost_nano)::text as cost_nano, sum(l.input_tokens)::bigint as input_tokens,
       sum(l.output_tokens)::bigint as output_tokens, sum(l.cache_read_tokens)::bigint as cache_read_tokens,
       sum(l.cache_write_tokens)::bigint as cache_write_tokens
     from ledger l
     left join unnest($4::text[], $5::text[]) as d (ours, theirs) on d.ours = l.deployment_id
     left join unnest($6::text[], $7::text[]) as k (ours, theirs) on k.ours = l.key_hash
     where l.provider = $1 and l.started_at >= $2::date::timestamp at time zone 'UTC'
       and l.started_at < ($3::date + 1)::timestamp at time zone 'UTC' ${narrowed}
     group by 1, 2, 3`,
    values,
  )
}

function pairs(list: readonly (readonly [string, string])[]): [string[], string[]] {
  return [list.map(([ours]) => ours), list.map(([, theirs]) => theirs)]
}
