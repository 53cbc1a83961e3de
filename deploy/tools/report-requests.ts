import { createHash } from 'node:crypto'
import type { LedgerShape } from '../../loadtest/ledger-rows.ts'

export interface ReportRequest {
  path: string
  key: string
  body?: unknown
}

/** One kind of question; `request(n)` is its nth variation. */
export interface Report {
  name: string
  request(n: number): ReportRequest
}

const DAY = 86_400_000

/**
 * What people ask of a ledger: the last day, week, month and everything, for the whole gateway and narrowed to an owner. `whole` questions
 * span the days named; narrowed ones go through owners large and small.
 */
export function reportsOf(shape: LedgerShape, keys: { admin: string; user: string }): Report[] {
  const last = Date.parse(`${shape.lastDay}T00:00:00Z`)
  const day = (back: number): string => new Date(last - back * DAY).toISOString().slice(0, 10)
  /** `length` days that end a little earlier with every variation. */
  const span = (length: number, n: number): string => {
    const back = (n * 7) % Math.max(1, shape.days - length + 1)
    return `start_date=${day(back + length - 1)}&end_date=${day(back)}`
  }
  const lengths = (n: number): number => [1, 7, 30, 90][n % 4] as number
  const hash = (n: number): string =>
    createHash('sha256')
      .update(`key-${owner(n, shape.keys)}`)
      .digest('hex')
  /** Owners from the largest (0) to the smallest, evenly over the variations. */
  const owner = (n: number, count: number): number => Math.floor(((n % 50) / 50) ** 2 * count)
  const admin = (name: string, path: (n: number) => string): Report => ({
    name,
    request: (n) => ({ path: path(n), key: keys.admin }),
  })
  const own = (name: string, path: (n: number) => string): Report => ({
    name,
    request: (n) => ({ path: path(n), key: keys.user }),
  })
  const page = (n: number): string => `page=${1 + (n % 5)}&page_size=50`

  const narrowed: [string, (n: number) => string][] = [
    ['api_key', (n) => `api_key=${hash(n)}`],
    ['user_id', (n) => `user_id=user-${owner(n, shape.users)}`],
    ['team_id', (n) => `team_id=team-${owner(n, shape.teams)}`],
    ['end_user', (n) => `end_user=customer-${owner(n, shape.customers)}`],
    ['model', (n) => `model=model-${n % shape.models}`],
    ['model_group', (n) => `model_group=group-${n % Math.ceil(shape.models / 2)}`],
    ['status_filter', (n) => `status_filter=${n % 2 === 0 ? 'failure' : 'success'}`],
    ['error_code', (n) => `error_code=${[429, 500, 400][n % 3]}`],
    ['error_message', () => 'error_message=refused'],
    ['key_alias', (n) => `key_alias=key-${owner(n, shape.keys)}`],
    ['min_spend', (n) => `min_spend=0.0${n % 10}`],
    ['tag', (n) => `tag=tag-${n % shape.tags}`],
    ['model that is not there', () => 'model=none'],
  ]

  return [
    ...narrowed.map(([name, query]) =>
      admin(`/spend/logs/v2 by ${name}`, (n) => `/spend/logs/v2?${span(lengths(n), n)}&${query(n)}&${page(n)}`),
    ),
    admin('/spend/logs/v2', (n) => `/spend/logs/v2?${span(lengths(n), n)}&${page(n)}`),
    admin('/spend/logs/v2 page 200', (n) => `/spend/logs/v2?${span(lengths(n), n)}&page=200&page_size=50`),
    admin(
      '/spend/logs/v2 of a key sorted by spend',
      (n) => `/spend/logs/v2?${span(7, n)}&api_key=${hash(n)}&sort_by=spend&${page(n)}`,
    ),
    admin('/spend/logs/v2 of a day sorted by spend', (n) => `/spend/logs/v2?${span(1, n)}&sort_by=spend&${page(n)}`),
    admin('/spend/logs/v2 sorted by spend', (n) => `/spend/logs/v2?${span(lengths(n), n)}&sort_by=spend&${page(n)}`),
    own('/spend/logs/v2 as a user', (n) => `/spend/logs/v2?${span(lengths(n), n)}&${page(n)}`),
    admin('/spend/logs/session/ui', (n) => `/spend/logs/session/ui?session_id=session-${owner(n, shape.customers)}-${day(n)}`),
    admin('/spend/logs/ui/{request_id}', (n) => `/spend/logs/v2?request_id=none-${n}`),
    admin('/spend/logs summarized, 1 day', (n) => `/spend/logs?${span(1, n)}`),
    admin('/spend/logs summarized of a user, 90 days', (n) => `/spend/logs?${span(90, n)}&user_id=user-${owner(n, shape.users)}`),
    admin('/spend/logs summarized, 30 days', (n) => `/spend/logs?${span(30, n)}`),
    admin('/spend/keys', (n) => `/spend/keys?page=${1 + (n % 5)}`),
    admin('/spend/users', () => '/spend/users'),
    admin('/spend/tags since the beginning', () => '/spend/tags'),
    admin('/spend/tags', (n) => `/spend/tags?${span(lengths(n), n)}`),
    admin('/global/spend', () => '/global/spend'),
    ...['logs', 'keys', 'teams', 'models', 'provider', 'tags'].flatMap((name) => [
      admin(`/global/spend/${name}`, (n) => `/global/spend/${name}?${span(lengths(n), n)}`),
      admin(`/global/spend/${name}, ${shape.days} days`, () => `/global/spend/${name}?${span(shape.days, 0)}`),
    ]),
    own('/global/spend/models as a user', (n) => `/global/spend/models?${span(lengths(n), n)}`),
    admin('/global/spend/all_tag_names', () => '/global/spend/all_tag_names'),
    admin('/global/all_end_users', () => '/global/all_end_users'),
    {
      name: '/global/spend/end_users',
      request: (n) => {
        const [start, end] = span(lengths(n), n)
          .split('&')
          .map((part) => part.split('=')[1])
        return { path: '/global/spend/end_users', key: keys.admin, body: { startTime: start, endTime: end } }
      },
    },
    ...['team', 'customer', 'tag', 'api_key'].map((name) =>
      admin(`/global/spend/report by ${name}, 1 day`, (n) => `/global/spend/report?${span(1, n)}&group_by=${name}`),
    ),
    admin(
      '/global/spend/report of a team, 30 days',
      (n) => `/global/spend/report?${span(30, n)}&team_id=team-${n % shape.teams}`,
    ),
    admin(
      '/global/spend/report of a customer, 90 days',
      (n) => `/global/spend/report?${span(90, n)}&customer_id=customer-${n * 100}`,
    ),
    admin('/global/spend/report of a key, 90 days', (n) => `/global/spend/report?${span(90, n)}&api_key=${hash(n)}`),
    admin('/global/spend/report by api_key, 30 days', (n) => `/global/spend/report?${span(30, n)}&group_by=api_key`),
    admin('/global/spend/report by team, 30 days', (n) => `/global/spend/report?${span(30, n)}&group_by=team`),
    ...['', '/model', '/provider'].flatMap((name) => [
      admin(`/global/activity${name}`, (n) => `/global/activity${name}?${span(lengths(n), n)}`),
      admin(`/global/activity${name}, ${shape.days} days`, () => `/global/activity${name}?${span(shape.days, 0)}`),
    ]),
    admin('/global/activity/exceptions', (n) => `/global/activity/exceptions?${span(30, n)}&model_group=group-${n % 20}`),
    admin(
      '/global/activity/exceptions/deployment',
      (n) => `/global/activity/exceptions/deployment?${span(30, n)}&model_group=group-${n % 20}`,
    ),
    admin('/global/activity/cache_hits, 7 days', (n) => `/global/activity/cache_hits?${span(7, n)}`),
    admin(
      '/global/activity/cache_hits of a key, 30 days',
      (n) => `/global/activity/cache_hits?${span(30, n)}&api_keys=${hash(n)}`,
    ),
    ...['user', 'team', 'organization', 'tag', 'customer'].flatMap((name) => [
      admin(`/${name}/daily/activity`, (n) => `/${name}/daily/activity?${span(lengths(n), n)}&${page(n)}`),
      admin(
        `/${name}/daily/activity of 1000 rows`,
        (n) => `/${name}/daily/activity?${span(30, n)}&page=${1 + (n % 20)}&page_size=1000`,
      ),
      admin(`/${name}/daily/activity/aggregated, 30 days`, (n) => `/${name}/daily/activity/aggregated?${span(30, n)}`),
    ]),
    own('/user/daily/activity as a user, 30 days', (n) => `/user/daily/activity?${span(30, n)}&${page(n)}`),
    admin(
      '/user/daily/activity/aggregated of a user, 90 days',
      (n) => `/user/daily/activity/aggregated?${span(90, n)}&user_id=user-${owner(n, shape.users)}`,
    ),
    admin(
      '/team/daily/activity/aggregated of a team, 90 days',
      (n) => `/team/daily/activity/aggregated?${span(90, n)}&team_ids=team-${owner(n, shape.teams)}`,
    ),
    admin(
      '/user/daily/activity of a user, UTC-8, 30 days',
      (n) => `/user/daily/activity?${span(30, n)}&user_id=user-${owner(n, shape.users)}&timezone=480`,
    ),
    admin('/user/daily/activity, UTC-8, 1 day', (n) => `/user/daily/activity?${span(1, n)}&timezone=480`),
  ]
}
