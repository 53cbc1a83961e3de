/** One figure over time. */
export interface Point {
  /** Minutes since the load began. */
  minute: number
  value: number
}

export interface Trend {
  /** Per minute. */
  slope: number
  /** Standard error of the slope, per minute: what the scatter of the points around the line leaves open. */
  error: number
  points: number
}

/** The line through the points by least squares. Fewer than three points, or all at one time, have no trend: slope and error are 0. */
export function trendOf(points: readonly Point[]): Trend {
  const count = points.length
  const meanX = points.reduce((sum, { minute }) => sum + minute, 0) / count
  const meanY = points.reduce((sum, { value }) => sum + value, 0) / count
  let xx = 0
  let xy = 0
  for (const { minute, value } of points) {
    xx += (minute - meanX) ** 2
    xy += (minute - meanX) * (value - meanY)
  }
  if (count < 3 || xx === 0) return { slope: 0, error: 0, points: count }
  const slope = xy / xx
  const rest = points.reduce((sum, { minute, value }) => sum + (value - meanY - slope * (minute - meanX)) ** 2, 0)
  return { slope, error: Math.sqrt(rest / (count - 2) / xx), points: count }
}

/** The second half of the time the points span: what is filled once (caches, pools, compiled code) has been by then. */
export function secondHalf(points: readonly Point[]): Point[] {
  const first = points[0]?.minute ?? 0
  const last = points.at(-1)?.minute ?? 0
  return points.filter(({ minute }) => minute >= (first + last) / 2)
}

/** The least of every `size` points that follow each other, so that what is freed now and then does not look like growth. */
export function lows(points: readonly Point[], size: number): Point[] {
  const found: Point[] = []
  for (let from = 0; from + size <= points.length; from += size) {
    found.push(points.slice(from, from + size).reduce((least, point) => (point.value < least.value ? point : least)))
  }
  return found
}
