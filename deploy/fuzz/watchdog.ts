import { Worker } from 'node:worker_threads'
import { type Case, encodeCase, type Target } from './target.ts'

/** Milliseconds beyond a target's deadline: a busy machine is no hang. */
const GRACE = 20_000
const SIZE_MAX = 1024 * 1024

export interface Watchdog {
  begin(one: Case): void
  end(): void
  close(): void
}

/**
 * Watches code that runs in this thread, which can do nothing while it hangs: another thread keeps the case in the corpus, says so and ends
 * the process.
 */
export function createWatchdog({ name, deadline }: Target): Watchdog {
  /** Number of cases begun and ended, and bytes of the one that runs. */
  const shared = new SharedArrayBuffer(8 + SIZE_MAX)
  const counts = new Int32Array(shared, 0, 2)
  const bytes = new Uint8Array(shared, 8)
  const worker = new Worker(new URL('watchdog-thread.ts', import.meta.url), {
    workerData: { shared, name, limit: deadline + GRACE },
  })
  worker.unref()
  return {
    begin(one) {
      const encoded = encodeCase(one).subarray(0, SIZE_MAX)
      bytes.set(encoded)
      counts[1] = encoded.length
      Atomics.add(counts, 0, 1)
    },
    end: () => void Atomics.add(counts, 0, 1),
    close: () => void worker.terminate(),
  }
}
