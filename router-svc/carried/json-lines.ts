/** Bytes read before others get their turn: lines of a batch are up to hundreds of megabytes. */
const TURN = 256 * 1024

/** Calls `take` with every line that is not empty, in order, letting others run in between. Rejects with what `take` throws. */
export async function eachLine(bytes: Uint8Array, take: (line: string) => void): Promise<void> {
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let rested = 0
  for (let at = 0; at < whole.length; ) {
    const newline = whole.indexOf(10, at)
    const end = newline < 0 ? whole.length : newline
    const line = whole.toString('utf8', at, end).trim()
    if (line !== '') take(line)
    at = end + 1
    if (at - rested < TURN) continue
    rested = at
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
}
