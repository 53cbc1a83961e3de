import type { Hash } from './hash.ts'

/** Remembers a small number per hash, 14 bytes each, for a while; of those that compete for a place the oldest goes. */
export interface HashMemory {
  /** What was set at or after `since` (milliseconds of the same clock as `now`), or -1. */
  get(hash: Hash, since: number): number
  set(hash: Hash, value: number, now: number): void
}

/** Places among which a hash may be kept. */
const WAYS = 8

/** `entries` is rounded up to a power of two. Values are 0 to 65,535. Memory is taken with the first `set`. */
export function createHashMemory(entries: number): HashMemory {
  const size = Math.max(WAYS, 2 ** Math.ceil(Math.log2(entries)))
  const mask = size / WAYS - 1
  let highs = new Uint32Array(0)
  let lows = highs
  let values = new Uint16Array(0)
  /** Seconds; 0 = empty. */
  let times = highs

  function begin(): void {
    highs = new Uint32Array(size)
    lows = new Uint32Array(size)
    values = new Uint16Array(size)
    times = new Uint32Array(size)
  }

  return {
    get({ high, low }, since) {
      if (times.length === 0) return -1
      const first = (low & mask) * WAYS
      for (let at = first; at < first + WAYS; at += 1) {
        if (highs[at] !== high || lows[at] !== low || times[at] === 0) continue
        return (times[at] as number) >= secondsOf(since) ? (values[at] as number) : -1
      }
      return -1
    },
    set({ high, low }, value, now) {
      if (times.length === 0) begin()
      const first = (low & mask) * WAYS
      let place = first
      for (let at = first; at < first + WAYS; at += 1) {
        if (highs[at] === high && lows[at] === low) {
          place = at
          break
        }
        if ((times[at] as number) < (times[place] as number)) place = at
      }
      highs[place] = high
      lows[place] = low
      values[place] = value
      times[place] = secondsOf(now)
    },
  }
}

/** From 1: 0 means that nothing is kept. */
function secondsOf(milliseconds: number): number {
  return Math.max(0, Math.floor(milliseconds / 1000)) + 1
}
