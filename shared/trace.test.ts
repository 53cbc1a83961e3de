import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type TestClock, testClock } from './clock.ts'
import type { TracingSettings } from './config/tracing.ts'
import { type Log, silentLog } from './log.ts'
import { createSpanOutput } from './trace.ts'
import type { Span, SpanOutput } from './tracer.ts'

const SETTINGS: TracingSettings = {
  protocol: 'console',
  endpoint: null,
  headers: { authorization: 'Bearer hush' },
  serviceName: 'gateway',
  environment: 'staging',
  interval: 600_000,
  sampleRate: 1,
  joins: true,
  namesCallers: true,
  forwards: true,
}
const SPAN: Span = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  parentId: '00f067aa0ba902b7',
  name: 'litellm_request',
  kind: 'client',
  startedAt: 1_700_000_000_000.25,
  endedAt: 1_700_000_000_100.75,
  attributes: { 'gen_ai.system': 'openai', 'gen_ai.response.finish_reasons': ['stop'] },
  events: [{ name: 'first_token', at: 1_700_000_000_050, attributes: {} }],
  failed: true,
}

let output: SpanOutput | null = null
/** Answers the collector owes. */
const owed: (() => void)[] = []
afterEach(async () => {
  answering = true
  for (const answer of owed.splice(0)) answer()
  await output?.close(1_000)
  answering = false
  output = null
})
let answering = false

/** `answer`: what the collector says to a batch; null = nothing, ever. */
async function open(answer: 'taken' | 'refused' | null, clock: TestClock = testClock()) {
  const batches: ReadableSpan[][] = []
  const warnings: object[] = []
  const log: Log = { ...silentLog, warn: (fields) => void warnings.push(fields) }
  const exporter: SpanExporter = {
    export(spans, done) {
      batches.push(spans)
      if (answer === null && !answering) owed.push(() => done({ code: 0 }))
      if (answer === 'taken' || answering) done({ code: 0 })
      if (answer === 'refused') done({ code: 1, error: new Error('Bad Gateway') })
    },
    shutdown: async () => undefined,
  }
  output = await createSpanOutput({ settings: SETTINGS, instance: 'edge-1', clock, log, exporter })
  return { output, batches, warnings, clock }
}

describe('createSpanOutput', () => {
  it('hands the collector what it was told, ids and times included, at the latest when it is closed', async () => {
    const { output: spans, batches } = await open('taken')
    spans.write(SPAN)
    spans.write({ ...SPAN, spanId: '00f067aa0ba902b7', parentId: null, kind: 'server', failed: false })
    expect(batches).toEqual([])
    await spans.close(1_000)
    const [one, root] = batches.flat()
    expect(one?.spanContext()).toMatchObject({ traceId: SPAN.traceId, spanId: SPAN.spanId, traceFlags: 1 })
    expect(one?.parentSpanContext?.spanId).toBe(SPAN.parentId)
    expect(one).toMatchObject({ name: SPAN.name, kind: 2, attributes: SPAN.attributes, status: { code: 2 } })
    expect(one?.duration[1]).toBeCloseTo(100.5e6, -4)
    expect(one?.events.map(({ name }) => name)).toEqual(['first_token'])
    expect(one?.resource.attributes).toMatchObject({
      'service.name': 'gateway',
      'service.instance.id': 'edge-1',
      'deployment.environment.name': 'staging',
    })
    expect(root?.spanContext().traceId).toBe(SPAN.traceId)
    expect(root?.parentSpanContext).toBeUndefined()
    expect(root).toMatchObject({ kind: 1, status: { code: 0 } })
  })

  it('drops what there is no room for and says so once in ten seconds', async () => {
    const { output: spans, batches, warnings, clock } = await open(null)
    for (let count = 0; count < 2_148; count += 1) spans.write(SPAN)
    await vi.waitFor(() => expect(batches.length).toBeGreaterThan(0))
    expect(warnings).toEqual([{ spans: 1, reason: '2048 of them wait already' }])
    clock.advance(10_000)
    spans.write(SPAN)
    expect(warnings).toEqual([expect.anything(), { spans: 100, reason: '2048 of them wait already' }])
  })

  it('tells of a collector that refuses, with its reason and never its headers', async () => {
    const { output: spans, warnings } = await open('refused')
    spans.write(SPAN)
    await spans.close(1_000)
    expect(warnings).toEqual([{ spans: 1, reason: 'Bad Gateway' }])
  })

  it('waits for a collector that says nothing no longer than it is given', async () => {
    const { output: spans, batches, warnings, clock } = await open(null)
    spans.write(SPAN)
    let closed = false
    const closing = spans.close(5_000).then(() => {
      closed = true
    })
    await vi.waitFor(() => expect(batches).toHaveLength(1))
    expect(closed).toBe(false)
    clock.advance(5_000)
    await closing
    expect(warnings).toEqual([{ spans: 1, reason: 'the process stopped before they were taken' }])
  })
})
