import { readFileSync } from 'node:fs'
import process from 'node:process'
import { tracingSettings } from '../shared/config/tracing.ts'
import { createMetrics } from '../shared/metrics.ts'
import { openTracer } from '../shared/open-tracer.ts'
import { runService } from '../shared/service-process.ts'
import { createEdge, EDGE_DEFAULTS } from './edge.ts'

await runService('edge', process, async ({ bus, clock, log, settings, loaded, lifecycle }) => {
  const metrics = createMetrics()
  const tracing = tracingSettings(loaded.env, loaded.config)
  const tracer = await openTracer({ settings: tracing, instance: bus.id, clock, log, lifecycle, random: Math.random })
  const { host, port, bodyLimit } = settings
  const tls = settings.tls && {
    key: readFileSync(settings.tls.keyFile, 'utf8'),
    cert: readFileSync(settings.tls.certificateFile, 'utf8'),
  }
  const edge = await createEdge({ bus, clock, log, metrics, tracer, settings: { ...EDGE_DEFAULTS, host, port, tls, bodyLimit } })
  lifecycle.add({ name: 'edge', drain: (limit) => edge.drain(limit), stop: () => edge.stop() })
  return { ready: () => edge.ready(), metrics: () => metrics.pieces(), port: edge.port }
})
