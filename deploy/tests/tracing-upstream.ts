import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A span as OTLP's JSON has it, flattened; `at` is the process it came from. */
export interface ReceivedSpan {
  at: string
  service: string
  name: string
  kind: number
  traceId: string
  spanId: string
  parentId: string | null
  /** Milliseconds. */
  startedAt: number
  endedAt: number
  attributes: Record<string, unknown>
  events: string[]
  failed: boolean
}

export interface TracingUpstream {
  url: string
  spans: ReceivedSpan[]
  /** Bodies and headers of everything collectors were sent, for what must not be in it. */
  words(): string
  /** The `traceparent` of each call a provider got, by the text of its last message. */
  calls: Map<string, (string | undefined)[]>
  stop(): Promise<void>
}

const ANSWER = {
  id: 'c',
  object: 'chat.completion',
  created: 1,
  model: 'gpt-served',
  choices: [{ index: 0, message: { role: 'assistant', content: 'secret-answer' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 11, completion_tokens: 5, total_tokens: 16 },
}
const OK = 1
const ERROR = 2

/** A collector (`/v1/traces`) and a provider. Of a provider whose path holds `/flaky`, the first answer to each text is a 500. */
export async function startTracingUpstream(): Promise<TracingUpstream> {
  const spans: ReceivedSpan[] = []
  const calls: TracingUpstream['calls'] = new Map()
  const bodies: string[] = []
  const server = createServer(async (request, response) => {
    const body = await bodyOf(request)
    if (request.url === '/v1/traces') {
      bodies.push(body, JSON.stringify(request.headers))
      spans.push(...read(JSON.parse(body) as Batch))
      response.setHeader('content-type', 'application/json').end('{}')
      return
    }
    const asked = JSON.parse(body) as { stream?: boolean; messages: { content: string }[] }
    const text = asked.messages.at(-1)?.content ?? ''
    const before = calls.get(text) ?? []
    calls.set(text, [...before, request.headers['traceparent'] as string | undefined])
    if (request.url?.includes('/flaky') && before.length === 0) {
      response.writeHead(500, { 'content-type': 'application/json' }).end('{"error":{"message":"secret-refusal"}}')
    } else if (asked.stream === true) {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const chunk of chunks()) response.write(`data: ${JSON.stringify(chunk)}\n\n`)
      response.end('data: [DONE]\n\n')
    } else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(ANSWER))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    words: () => bodies.join('\n'),
    calls,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function chunks(): object[] {
  const { usage, choices: _, ...head } = ANSWER
  const delta = (content: object, finish: string | null) => ({
    ...head,
    object: 'chat.completion.chunk',
    choices: [{ index: 0, delta: content, finish_reason: finish }],
  })
  return [
    delta({ role: 'assistant', content: 'secret-answer' }, null),
    delta({}, 'stop'),
    { ...delta({}, null), choices: [], usage },
  ]
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts).toString()
}

interface Batch {
  resourceSpans: { resource: { attributes: Pair[] }; scopeSpans: { spans: WireSpan[] }[] }[]
}
interface Pair {
  key: string
  value: Record<string, unknown>
}
interface WireSpan {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: number
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes: Pair[]
  events: { name: string }[]
  status: { code?: number }
}

function read({ resourceSpans }: Batch): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const from = valuesOf(resource.attributes)
    return scopeSpans.flatMap((scope) =>
      scope.spans.map((span) => ({
        at: String(from['service.instance.id']),
        service: String(from['service.name']),
        name: span.name,
        kind: span.kind,
        traceId: span.traceId,
        spanId: span.spanId,
        parentId: span.parentSpanId ?? null,
        startedAt: Number(span.startTimeUnixNano) / 1e6,
        endedAt: Number(span.endTimeUnixNano) / 1e6,
        attributes: valuesOf(span.attributes),
        events: span.events.map(({ name }) => name),
        failed: (span.status.code ?? OK) === ERROR,
      })),
    )
  })
}

function valuesOf(pairs: Pair[]): Record<string, unknown> {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, Object.values(value)[0]]))
}
