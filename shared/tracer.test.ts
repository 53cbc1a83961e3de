import { describe, expect, it } from 'vitest'
import { createTracer, readTraceparent, type Span, type TracerSettings, traceparentOf } from './tracer.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'
const SETTINGS: TracerSettings = { sampleRate: 0.25, joins: true, namesCallers: true, forwards: true }

function make(settings: Partial<TracerSettings> = {}, random = () => 0.5) {
  const spans: Span[] = []
  let draws = 0
  const tracer = createTracer({
    settings: { ...SETTINGS, ...settings },
    random: () => {
      draws += 1
      return random()
    },
    output: { write: (span) => void spans.push(span) },
  })
  return { tracer, spans, draws: () => draws }
}

describe('readTraceparent', () => {
  it('reads trace, parent and whether it is sampled', () => {
    expect(readTraceparent(`00-${TRACE}-${SPAN}-01`)).toEqual({ traceId: TRACE, spanId: SPAN, sampled: true })
    expect(readTraceparent(`00-${TRACE}-${SPAN}-00`)?.sampled).toBe(false)
    expect(readTraceparent(`00-${TRACE}-${SPAN}-03`)?.sampled).toBe(true)
    expect(readTraceparent(`00-${TRACE}-${SPAN}-02`)?.sampled).toBe(false)
  })

  it('reads what later versions add behind the flags, which version 00 may not have', () => {
    expect(readTraceparent(`cc-${TRACE}-${SPAN}-01-what-the-future-brings`)?.sampled).toBe(true)
    expect(readTraceparent(`00-${TRACE}-${SPAN}-01-more`)).toBeNull()
  })

  it.each([
    '',
    't',
    `ff-${TRACE}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${TRACE.slice(1)}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-1`,
    `00-${TRACE}-${SPAN}-01 `,
    `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`,
  ])('takes %j for none', (header) => expect(readTraceparent(header)).toBeNull())

  it('reads what traceparentOf writes', () => {
    expect(readTraceparent(traceparentOf({ traceId: TRACE, spanId: SPAN }))).toEqual({
      traceId: TRACE,
      spanId: SPAN,
      sampled: true,
    })
  })
})

describe('createTracer', () => {
  it('joins the trace of a caller who records it, without a draw', () => {
    const { tracer, draws } = make({ sampleRate: 0 })
    const trace = tracer.begin(`00-${TRACE}-${SPAN}-01`)
    expect(trace).toMatchObject({ traceId: TRACE, parentId: SPAN })
    expect(trace?.spanId).toMatch(/^[\da-f]{16}$/)
    expect(draws()).toBe(0)
  })

  it('traces nothing of a caller who does not, whatever the share', () => {
    expect(make({ sampleRate: 1 }).tracer.begin(`00-${TRACE}-${SPAN}-00`)).toBeNull()
  })

  it('draws for callers who say nothing, and for what is malformed', () => {
    expect(make({}, () => 0.25).tracer.begin(undefined)).toBeNull()
    const { tracer } = make({}, () => 0.2499)
    for (const header of [undefined, 'nonsense']) {
      const trace = tracer.begin(header)
      expect(trace).toMatchObject({ parentId: null })
      expect(trace?.traceId).toMatch(/^[\da-f]{32}$/)
    }
    expect(tracer.begin(undefined)?.traceId).not.toBe(tracer.begin(undefined)?.traceId)
  })

  it('traces none at a share of 0 and all at 1', () => {
    expect(make({ sampleRate: 0 }, () => 0).tracer.begin(undefined)).toBeNull()
    expect(make({ sampleRate: 1 }, () => 1 - Number.EPSILON).tracer.begin(undefined)).not.toBeNull()
  })

  it('does not follow callers where it shall not', () => {
    const { tracer } = make({ joins: false, sampleRate: 1 })
    expect(tracer.begin(`00-${TRACE}-${SPAN}-00`)).toMatchObject({ parentId: null })
    expect(tracer.begin(`00-${TRACE}-${SPAN}-01`)?.traceId).not.toBe(TRACE)
  })
})
