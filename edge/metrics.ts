import type { Metrics } from '../shared/metrics.ts'
import type { Exchange } from './exchange.ts'

/** GET /metrics, piece by piece and no faster than its reader: all of it may be 157 MB. */
export async function answerMetrics(exchange: Exchange, metrics: Metrics): Promise<void> {
  let wake = (): void => undefined
  const moved = (): void => wake()
  exchange.onDrain = moved
  exchange.onAbort = moved
  exchange.start(200, { 'content-type': metrics.contentType })
  for await (const piece of metrics.pieces()) {
    exchange.write(piece)
    while (!exchange.closed && exchange.buffered > 0) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    if (exchange.closed) return
  }
  exchange.end()
}
