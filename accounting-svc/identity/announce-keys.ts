import type { Bus } from '../../shared/bus/bus.ts'

/** Names in one message. 15,500 hashes are more than NATS takes in one, and are heard of only after the write they belong to. */
const BATCH = 500

/** Tells every process that these keys changed, by their hashes. */
export function announceKeys(bus: Bus, keyHashes: Iterable<string>): void {
  for (const batch of batches(keyHashes)) bus.announce('identity', { keyHashes: batch })
}

/** Names as many at a time as one message carries. */
export function* batches(names: Iterable<string>): Generator<string[]> {
  const all = [...names]
  for (let at = 0; at < all.length; at += BATCH) yield all.slice(at, at + BATCH)
}
