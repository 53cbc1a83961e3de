import type { Clock } from './clock.ts'
import type { LoadedConfig } from './config/load.ts'
import { tracingSettings } from './config/tracing.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { Log } from './log.ts'
import { createTracer, type Tracer } from './tracer.ts'

/** Milliseconds a stopping process waits for its last spans to be taken. */
const CLOSE_LIMIT = 5_000

/**
 * The tracer the configuration asks for, closed with the lifecycle after whatever is added later; null = none. Only then is OpenTelemetry
 * loaded. Throws StartError for a configuration of it that cannot be.
 */
export async function openTracer(deps: {
  loaded: LoadedConfig
  /** Name of this process. */
  instance: string
  clock: Clock
  log: Log
  lifecycle: Pick<Lifecycle, 'add'>
  random: () => number
}): Promise<Tracer | null> {
  const { loaded, lifecycle, random } = deps
  const settings = tracingSettings(loaded.env, loaded.config)
  if (settings === null) return null
  const { createSpanOutput } = await import('./trace.ts')
  const output = await createSpanOutput({ ...deps, settings })
  lifecycle.add({ name: 'traces', stop: () => output.close(CLOSE_LIMIT) })
  return createTracer({ settings, random, output })
}
