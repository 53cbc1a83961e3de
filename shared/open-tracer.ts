import type { Clock } from './clock.ts'
import type { TracingSettings } from './config/tracing.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { Log } from './log.ts'
import { createTracer, type Tracer } from './tracer.ts'

/** Milliseconds a stopping process waits for its last spans to be taken. */
const CLOSE_LIMIT = 5_000

/**
 * The tracer that is asked for, closed with the lifecycle after whatever is added later. OpenTelemetry is loaded only where one is. `settings`:
 * null = nothing is traced.
 */
export async function openTracer(deps: {
  settings: TracingSettings | null
  /** Name of this process. */
  instance: string
  clock: Clock
  log: Log
  lifecycle: Pick<Lifecycle, 'add'>
  random: () => number
}): Promise<Tracer | null> {
  const { settings, lifecycle, random } = deps
  if (settings === null) return null
  const { createSpanOutput } = await import('./trace.ts')
  const output = await createSpanOutput({ ...deps, settings })
  lifecycle.add({ name: 'traces', stop: () => output.close(CLOSE_LIMIT) })
  return createTracer({ settings, random, output })
}
