import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach } from 'vitest'

/** A request as a provider got it. */
export interface Heard {
  path: string
  headers: IncomingMessage['headers']
  text: string
  json: Record<string, unknown>
}

export type Answering = (heard: Heard, response: ServerResponse) => void

const opened: { stop(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of opened.splice(0)) await one.stop()
})

/** A provider on a port of its own; gone after the test. */
export async function provider(answering: Answering) {
  const heard: Heard[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const text = Buffer.concat(parts).toString()
      const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {}
      const one = { path: request.url ?? '', headers: request.headers, text, json }
      heard.push(one)
      answering(one, response)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  opened.push({
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  })
  return { heard, url: `http://127.0.0.1:${port}`, base: `http://127.0.0.1:${port}/v1` }
}

export function json(response: ServerResponse, body: unknown, status = 200, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

export function chat(text: string, usage = { prompt_tokens: 100, completion_tokens: 50, total_tokens: 150 }) {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1,
    model: 'gpt-4o-2024-08-06',
    choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
    usage,
  }
}

export const head = (response: ServerResponse): void => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
}

export function piece(content: string, finish: string | null = null, usage?: object): string {
  const choices = [{ index: 0, delta: { content }, finish_reason: finish }]
  return `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'gpt-4o', choices, ...(usage === undefined ? {} : { usage }) })}\n\n`
}

export const END = `${piece('', 'stop', { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 })}data: [DONE]\n\n`
export const hello = [{ role: 'user', content: 'hello' }]
