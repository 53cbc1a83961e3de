import { type RuntimeSettings, UNKNOWN_KEYS } from '../../proto/deployment.ts'
import type { Clock } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Metrics } from '../../shared/metrics.ts'
import type { Exchange } from '../exchange.ts'

/** What of a request says from where it came. */
export type From = Pick<Exchange, 'remoteAddress' | 'headers'>

/**
 * Slows the guessing of keys: every unknown key costs its address a token of a bucket, and while that is empty, keys this edge does not hold are
 * refused without a question over the bus. Keys it holds never come here.
 */
export interface KeyGuesses {
  /** Whose bucket: the client's address, of IPv6 its /64, which is what one client has. Empty when nothing is slowed. */
  whose(from: From): string
  /** Throws GatewayError `rate_limited` while the bucket is empty. */
  check(whose: string): void
  /** An unknown key was looked up. */
  spend(whose: string): void
  /** Addresses remembered. */
  readonly size: number
}

export type GuessSettings = Pick<RuntimeSettings, 'unknownKeys' | 'useForwardedFor'>

/** Addresses held: 2 MB. The longest untouched goes first. */
const ADDRESSES_MAX = 10_000
const NOBODY = ''

interface Bucket {
  /** Below zero when many were asked for at once: at most as far as it reaches above. */
  tokens: number
  /** Monotonic milliseconds of that number. */
  at: number
}

export function createKeyGuesses(deps: {
  clock: Clock
  settings: () => GuessSettings | null
  metrics: Pick<Metrics, 'unknownKeys'>
  addresses?: number
}): KeyGuesses {
  const { clock, metrics, addresses = ADDRESSES_MAX } = deps
  const buckets = new Map<string, Bucket>()
  const limitOf = () => deps.settings()?.unknownKeys ?? UNKNOWN_KEYS

  function tokensOf(bucket: Bucket, now: number): number {
    const { burst, perSecond } = limitOf()
    return Math.min(burst, bucket.tokens + ((now - bucket.at) / 1000) * perSecond)
  }

  return {
    whose(from) {
      if (limitOf().burst === 0) return NOBODY
      // The last is what the nearest proxy saw; the others are whatever the client wrote.
      const told =
        deps.settings()?.useForwardedFor === true ? from.headers['x-forwarded-for']?.split(',').at(-1)?.trim() : undefined
      return networkOf(told || from.remoteAddress)
    },
    check(whose) {
      const bucket = buckets.get(whose)
      if (bucket === undefined || whose === NOBODY) return
      const tokens = tokensOf(bucket, clock.monotonic())
      if (tokens >= 1) return
      metrics.unknownKeys.with({ outcome: 'refused' }).add()
      const retryAfter = Math.ceil(((1 - tokens) / limitOf().perSecond) * 1000)
      throw new GatewayError('rate_limited', 'Too many unknown keys came from this address. Retry later.', { retryAfter })
    },
    spend(whose) {
      metrics.unknownKeys.with({ outcome: 'looked_up' }).add()
      const { burst } = limitOf()
      if (whose === NOBODY) return
      const at = clock.monotonic()
      const before = buckets.get(whose)
      const tokens = before === undefined ? burst : tokensOf(before, at)
      buckets.delete(whose)
      if (buckets.size >= addresses) buckets.delete(buckets.keys().next().value as string)
      buckets.set(whose, { tokens: Math.max(-burst, tokens - 1), at })
    },
    get size() {
      return buckets.size
    },
  }
}

/** An IPv4 address as it is, also one in IPv6's clothes; of another its first four groups. */
export function networkOf(address: string): string {
  const bare = address.replace(/^\[|\](?::\d+)?$/g, '').toLowerCase()
  if (!bare.includes(':')) return bare
  const mapped = /^(?:0{0,4}:){2,7}ffff:(?:(\d+\.\d+\.\d+\.\d+)|([0-9a-f]{1,4}):([0-9a-f]{1,4}))$/.exec(bare)
  if (mapped?.[1] !== undefined) return mapped[1]
  if (mapped !== null) {
    return [mapped[2], mapped[3]]
      .flatMap((group) => [Number.parseInt(group as string, 16) >> 8, Number.parseInt(group as string, 16) & 255])
      .join('.')
  }
  const [head = '', tail] = bare.split('%')[0]?.split('::') ?? []
  const groups = head === '' ? [] : head.split(':')
  const rest = tail === undefined || tail === '' ? [] : tail.split(':')
  const filled = [...groups, ...Array<string>(Math.max(0, 8 - groups.length - rest.length)).fill('0'), ...rest]
  return `${filled
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}
