import { type Attempt, NO_TOKENS, type UsageEvent } from '../proto/usage.ts'
import type { Bus } from './bus/bus.ts'
import type { Codec } from './bus/codec.ts'
import type { Clock } from './clock.ts'
import { type GatewayError, toWire } from './errors.ts'
import type { Log } from './log.ts'

/** What a router sends ahead: its usage event as far as known, and how many bytes of answer make a token. */
export type Booking = UsageEvent & { outputBytesPerToken: number }

/** The event to book for a router that died while it answered: output is estimated from the bytes relayed. Pure; `now` in Unix milliseconds. */
export function unsettledEvent(booking: Booking, bytes: number, error: GatewayError, now: number): UsageEvent {
  const { outputBytesPerToken, ...event } = booking
  const output = Math.ceil(bytes / Math.max(1, outputBytesPerToken))
  const attempts = event.attempts.map((attempt, index): Attempt => {
    if (index < event.attempts.length - 1) return attempt
    const usage = { ...NO_TOKENS, ...attempt.usage, output, estimated: true }
    return { ...attempt, endedAt: now, outcome: 'unsettled', error: toWire(error), usage }
  })
  return { ...event, attempts, endedAt: now, outcome: 'unsettled', error: toWire(error) }
}

/** Appends what a lost router had announced, `bytes` of whose answer arrived, so that nothing disappears. Never rejects. */
export async function bookUnsettled(
  { bus, codec, clock, log }: { bus: Pick<Bus, 'append'>; codec: Codec; clock: Clock; log: Log },
  booking: Uint8Array,
  bytes: number,
  error: GatewayError,
): Promise<void> {
  try {
    await bus.append('unsettled', [unsettledEvent(codec.decode(booking) as Booking, bytes, error, clock.now())])
  } catch (err) {
    log.error({ err }, 'a call of a lost router could not be booked')
  }
}
