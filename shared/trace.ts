import {
  type Attributes,
  type ContextManager,
  type HrTime,
  type Span as OpenSpan,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { AlwaysOnSampler, BatchSpanProcessor, ConsoleSpanExporter, type SpanExporter } from '@opentelemetry/sdk-trace'
import { PRODUCT_VERSION } from '../proto/version.ts'
import type { Clock } from './clock.ts'
import type { SpanProtocol, TracingSettings } from './config/tracing.ts'
import type { Log } from './log.ts'
import type { Span, SpanOutput } from './tracer.ts'

/**
 * OpenTelemetry: spans to a collector. Costs 40 MB and 0.3 s to load, so it is imported where tracing is configured (`open-tracer.ts`) and nowhere
 * else.
 */

/** Spans that wait; past it new ones are dropped: a collector that is away must not cost memory. */
const QUEUE_MAX = 2_048
const BATCH_MAX = 512
/** Milliseconds a batch may take. */
const EXPORT_LIMIT = 10_000
/** Milliseconds between two warnings that spans are lost. */
const WARN_EVERY = 10_000
const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const

export interface SpanOutputDeps {
  settings: TracingSettings
  /** Name of this process. */
  instance: string
  clock: Clock
  log: Log
  /** Default: what the settings say. */
  exporter?: SpanExporter
}

/** Starts OpenTelemetry's SDK for this process. There is one at a time: the SDK registers itself for the whole process until it is closed. */
export async function createSpanOutput(deps: SpanOutputDeps): Promise<SpanOutput> {
  const { settings, clock } = deps
  const losses = createLosses(deps)
  const exporter = deps.exporter ?? (await exporterOf(settings))
  let waiting = 0
  const counting: SpanExporter = {
    export(spans, done) {
      exporter.export(spans, (result) => {
        waiting -= spans.length
        if (result.code !== 0) losses.add(spans.length, result.error?.message ?? 'the collector did not take them')
        done(result)
      })
    },
    forceFlush: async () => exporter.forceFlush?.(),
    shutdown: () => exporter.shutdown(),
  }
  /** The ids of the span that is being made: they were given to others while it ran. */
  let next = { traceId: '', spanId: '' }
  const sdk = new NodeSDK({
    resource: resourceFromAttributes(resourceOf(deps)),
    autoDetectResources: false,
    sampler: new AlwaysOnSampler(),
    idGenerator: { generateTraceId: () => next.traceId, generateSpanId: () => next.spanId },
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: counting,
        maxQueueSize: QUEUE_MAX,
        maxExportBatchSize: BATCH_MAX,
        scheduledDelayMillis: settings.interval,
        exportTimeoutMillis: EXPORT_LIMIT,
      }),
    ],
    // Spans alone: nothing is patched, no context follows promises, no metrics and logs go to where nobody sent them.
    metricReaders: [],
    logRecordProcessors: [],
    instrumentations: [],
    textMapPropagator: null,
    contextManager: null as unknown as ContextManager,
  })
  sdk.start()
  const tracer = trace.getTracer('turnpike', PRODUCT_VERSION)

  const open = (span: Span): OpenSpan => {
    next = span
    const { name, kind, parentId, traceId, startedAt, attributes } = span
    const options = { kind: KINDS[kind], startTime: timeOf(startedAt), attributes }
    if (parentId === null) return tracer.startSpan(name, options, ROOT_CONTEXT)
    const parent = { traceId, spanId: parentId, traceFlags: TraceFlags.SAMPLED, isRemote: true }
    return tracer.startSpan(name, options, trace.setSpanContext(ROOT_CONTEXT, parent))
  }

  return {
    write(span) {
      if (waiting >= QUEUE_MAX) {
        losses.add(1, `${QUEUE_MAX} of them wait already`)
        return
      }
      const made = open(span)
      if (!made.isRecording()) return
      waiting += 1
      for (const { name, at, attributes } of span.events ?? []) made.addEvent(name, attributes, timeOf(at))
      if (span.failed) made.setStatus({ code: SpanStatusCode.ERROR })
      made.end(timeOf(span.endedAt))
    },
    async close(limit) {
      let timer = { cancel(): void {} }
      const late = new Promise<void>((resolve) => {
        timer = clock.after(limit, resolve)
      })
      await Promise.race([sdk.shutdown().catch(() => undefined), late])
      timer.cancel()
      trace.disable()
      if (waiting > 0) losses.add(waiting, 'the process stopped before they were taken')
      losses.flush()
    },
  }
}

/** Unix milliseconds as seconds and nanoseconds: a `Date` would lose what is below a millisecond. */
function timeOf(milliseconds: number): HrTime {
  const seconds = Math.floor(milliseconds / 1_000)
  return [seconds, Math.round((milliseconds - seconds * 1_000) * 1e6)]
}

function resourceOf({ settings, instance }: SpanOutputDeps): Attributes {
  return {
    'service.name': settings.serviceName,
    'service.version': PRODUCT_VERSION,
    'service.instance.id': instance,
    ...(settings.environment === null ? {} : { 'deployment.environment.name': settings.environment }),
  }
}

const EXPORTERS: Readonly<Record<SpanProtocol, (settings: TracingSettings) => Promise<SpanExporter>>> = {
  async 'http/protobuf'({ endpoint, headers }) {
    const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-proto')
    return new OTLPTraceExporter({ ...address(endpoint), headers, timeoutMillis: EXPORT_LIMIT })
  },
  async 'http/json'({ endpoint, headers }) {
    const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http')
    return new OTLPTraceExporter({ ...address(endpoint), headers, timeoutMillis: EXPORT_LIMIT })
  },
  async grpc({ endpoint, headers }) {
    const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-grpc')
    const { Metadata } = await import('@grpc/grpc-js')
    const metadata = new Metadata()
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
    return new OTLPTraceExporter({ ...address(endpoint), metadata, timeoutMillis: EXPORT_LIMIT })
  },
  console: async () => new ConsoleSpanExporter(),
}

function exporterOf(settings: TracingSettings): Promise<SpanExporter> {
  return EXPORTERS[settings.protocol](settings)
}

function address(endpoint: string | null): { url?: string } {
  return endpoint === null ? {} : { url: endpoint }
}

/** Tells of lost spans at most every ten seconds: a collector that is away concerns no call. */
function createLosses({ clock, log }: SpanOutputDeps): { add(spans: number, why: string): void; flush(): void } {
  let lost = 0
  let reason = ''
  let quietUntil = Number.NEGATIVE_INFINITY
  const flush = (): void => {
    if (lost === 0) return
    log.warn({ spans: lost, reason }, 'spans of traces are lost: the collector cannot be reached, refuses them or is slow')
    quietUntil = clock.monotonic() + WARN_EVERY
    lost = 0
  }
  return {
    add(spans, why) {
      lost += spans
      reason = why.slice(0, 200)
      if (clock.monotonic() >= quietUntil) flush()
    },
    flush,
  }
}
