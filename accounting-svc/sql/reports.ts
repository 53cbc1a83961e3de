import type { Transaction } from '../../shared/db/db.ts'

/** What a spend report is about. Times are Unix milliseconds, `to` excluded. */
export interface SpendFilter {
  from?: number
  to?: number
  keyHash?: string
  userId?: string
  teamId?: string
  endUser?: string
  /** The gateway's id of the call, or the one its client gave it. */
  callId?: string
}

/** A ledger row as reports read it. */
export interface LedgerRow {
  call_id: string
  take: number
  attempt: number
  entry: string
  started_at: Date
  key_hash: string
  key_alias: string | null
  user_id: string | null
  team_id: string | null
  organization_id: string | null
  end_user: string | null
  tags: string[]
  endpoint: string
  requested_model: string
  model_group: string
  model: string | null
  provider: string | null
  deployment_id: string | null
  api_base: string | null
  outcome: string
  status: number
  error_code: string | null
  error_message: string | null
  attempt_started_at: Date
  first_token_at: Date | null
  ended_at: Date
  input_tokens: number
  output_tokens: number
  cache_read_tokens: number
  cache_write_tokens: number
  reasoning_tokens: number
  estimated: boolean
  cost_nano: number
  rate_version: string | null
  cache_hit: boolean
  session_id: string | null
  client_ip: string | null
  metadata: Record<string, unknown>
}

/** Where a page of the ledger ended. */
export type LedgerPosition = Pick<LedgerRow, 'started_at' | 'call_id' | 'take' | 'attempt' | 'entry'>

/** The next rows of the ledger, newest first, after `after`. */
export function readLedger(
  db: Transaction,
  filter: SpendFilter,
  limit: number,
  after: LedgerPosition | null,
): Promise<LedgerRow[]> {
  const { conditions, values } = conditionsOf(filter)
  if (after !== null) {
    const start = values.length
    values.push(after.started_at, after.call_id, after.take, after.attempt, after.entry)
    conditions.push(
      `(started_at, call_id, take, attempt, entry) < ($${start + 1}::timestamptz, $${start + 2}, $${start + 3}::smallint, $${start + 4}::smallint, $${start + 5})`,
    )
  }
  values.push(limit)
  return db.query<LedgerRow>(
    `select * from ledger ${where(conditions)}
     order by started_at desc, call_id desc, take desc, attempt desc, entry desc limit $${values.length}`,
    values,
  )
}

/** Dollars of one day by key, user and model. */
export interface DaySum {
  day: string
  key_hash: string
  user_id: string
  model: string
  cost_nano: number
}

/** Daily sums from the roll-up: days from `from` to before `to`. */
export function sumDays(db: Transaction, filter: SpendFilter): Promise<DaySum[]> {
  const { conditions, values } = dailyConditions(filter)
  return db.query<DaySum>(
    `select day, key_hash, user_id, model, sum(cost_nano)::bigint as cost_nano from daily_spend ${where(conditions)}
     group by day, key_hash, user_id, model order by day, key_hash, user_id, model`,
    values,
  )
}

/** One line of a report: what `owner` used of a model through a key on a day. */
export interface ReportRow {
  day: string
  owner: string
  owner_name: string | null
  model: string
  key_hash: string
  cost_nano: number
  input_tokens: number
  output_tokens: number
}

/** Use by team, or by key when `owner` is `key`, from the roll-up. */
export function reportDays(db: Transaction, owner: 'team' | 'key' | 'user', filter: SpendFilter): Promise<ReportRow[]> {
  const { conditions, values } = dailyConditions(filter, 'd.')
  const column = { team: 'd.team_id', key: 'd.key_hash', user: 'd.user_id' }[owner]
  return db.query<ReportRow>(
    `select d.day, ${column} as owner, ${owner === 'team' ? 't.team_alias' : 'null'} as owner_name, d.model, d.key_hash,
       sum(d.cost_nano)::bigint as cost_nano, sum(d.input_tokens)::bigint as input_tokens, sum(d.output_tokens)::bigint as output_tokens
     from daily_spend d ${owner === 'team' ? 'left join teams t on t.team_id = d.team_id' : ''} ${where(conditions)}
     group by 1, 2, 3, 4, 5 order by 1, 2, 4, 5`,
    values,
  )
}

/** Use by end user, from the ledger: end users are too many for the roll-up. */
export function reportEndUsers(db: Transaction, filter: SpendFilter): Promise<ReportRow[]> {
  const { conditions, values } = conditionsOf(filter)
  return db.query<ReportRow>(
    `select started_at::date as day, end_user as owner, null as owner_name, coalesce(model, '') as model, key_hash,
       sum(cost_nano)::bigint as cost_nano, sum(input_tokens)::bigint as input_tokens, sum(output_tokens)::bigint as output_tokens
     from ledger ${where([...conditions, 'end_user is not null'])}
     group by 1, 2, 4, 5 order by 1, 2, 4, 5`,
    values,
  )
}

function conditionsOf(filter: SpendFilter): { conditions: string[]; values: unknown[] } {
  const conditions: string[] = []
  const values: unknown[] = []
  const add = (condition: string, value: unknown): void => {
    if (value === undefined) return
    values.push(value)
    conditions.push(`${condition} $${values.length}`)
  }
  add('started_at >=', filter.from === undefined ? undefined : new Date(filter.from).toISOString())
  add('started_at <', filter.to === undefined ? undefined : new Date(filter.to).toISOString())
  add('key_hash =', filter.keyHash)
  add('user_id =', filter.userId)
  add('team_id =', filter.teamId)
  add('end_user =', filter.endUser)
  if (filter.callId !== undefined) {
    values.push(filter.callId)
    conditions.push(`(call_id = $${values.length} or left(metadata ->> 'litellm_call_id', 128) = $${values.length})`)
  }
  return { conditions, values }
}

function dailyConditions(filter: SpendFilter, prefix = ''): { conditions: string[]; values: unknown[] } {
  const { from, to, keyHash, userId, teamId } = filter
  const conditions: string[] = []
  const values: unknown[] = []
  const add = (condition: string, value: string | undefined): void => {
    if (value === undefined) return
    values.push(value)
    conditions.push(`${prefix}${condition} $${values.length}`)
  }
  add('day >=', from === undefined ? undefined : new Date(from).toISOString().slice(0, 10))
  add('day <', to === undefined ? undefined : new Date(to).toISOString().slice(0, 10))
  add('key_hash =', keyHash)
  add('user_id =', userId)
  add('team_id =', teamId)
  return { conditions, values }
}

function where(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
}
