import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A provider of chats without batches, over real HTTP, that does what the last message says. */
export interface BatchUpstream {
  url: string
  /** Answers with usage, by the text asked. */
  answered: Map<string, number>
  /** Milliseconds until each answer. */
  delay: number
  /** Requests under way, and the most there ever were. */
  running: number
  most: number
  /** While true every request is refused with 429. */
  full: boolean
  stop(): Promise<void>
}

/** Every answer has these tokens. */
export const USAGE = { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 }

export async function startBatchUpstream(): Promise<BatchUpstream> {
  const tries = new Map<string, number>()
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(parts).toString()) as { model: string; messages: { content: string }[] }
      const text = body.messages.at(-1)?.content ?? ''
      const tried = (tries.get(text) ?? 0) + 1
      tries.set(text, tried)
      upstream.running += 1
      upstream.most = Math.max(upstream.most, upstream.running)
      const timer = setTimeout(() => {
        const [status, value] = answerTo(text, body.model, tried)
        if (status === 200) upstream.answered.set(text, (upstream.answered.get(text) ?? 0) + 1)
        response.writeHead(status, { 'content-type': 'application/json' })
        response.end(JSON.stringify(value))
      }, upstream.delay)
      response.on('close', () => {
        clearTimeout(timer)
        upstream.running -= 1
      })
    })
  })

  function answerTo(text: string, model: string, tried: number): [status: number, value: unknown] {
    const error = (message: string): unknown => ({ error: { message, type: 'x', code: null, param: null } })
    if (upstream.full) return [429, error('slow down')]
    if (text.startsWith('bad')) return [400, error('this is refused')]
    if (text.startsWith('unsteady') && tried === 1) return [500, error('once')]
    if (text.startsWith('busy') && tried === 1) return [429, error('slow down')]
    const message = { role: 'assistant', content: `echo ${text}` }
    const choices = [{ index: 0, message, finish_reason: 'stop' }]
    return [200, { id: `chatcmpl-${text}`, object: 'chat.completion', created: 1_700_000_000, model, choices, usage: USAGE }]
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const upstream: BatchUpstream = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answered: new Map(),
    delay: 5,
    running: 0,
    most: 0,
    full: false,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return upstream
}
