import { createLowest } from './lowest.ts'
import type { ChoiceContext, Strategy } from './strategy.ts'

/**
 * Any of those whose mean latency is within `latencyBuffer` above the lowest, of those with room this minute. Streams go by the time to
 * the first token where that is known. One without a sample counts as 0, so it is tried first.
 */
export function createLowestLatency(): Strategy {
  const buffer = ({ settings }: ChoiceContext): number => settings.latencyBuffer
  const whole = createLowest({ score: (slot, { columns }) => columns.latency[slot] as number, withinLimits: true, buffer })
  const streams = createLowest({
    score: (slot, { columns }) => (columns.firstToken[slot] as number) || (columns.latency[slot] as number),
    withinLimits: true,
    buffer,
  })
  return { choose: (candidates, context) => (context.stream ? streams : whole).choose(candidates, context) }
}
