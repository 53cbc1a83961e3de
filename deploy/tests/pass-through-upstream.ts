import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A request as a provider saw it. */
export interface SeenRequest {
  method: string
  url: string
  headers: IncomingHttpHeaders
  body: Buffer
}

/** How one request is answered. */
export type Script = (request: SeenRequest, response: ServerResponse) => void | Promise<void>

export interface ScriptedUpstream {
  url: string
  seen: SeenRequest[]
  /** Answers of requests from now on. */
  answer(script: Script): void
  stop(): Promise<void>
}

/** A provider that answers as each test says, and remembers what it was asked. */
export async function startScripted(): Promise<ScriptedUpstream> {
  const seen: SeenRequest[] = []
  let script: Script = (_, response) => void response.writeHead(500).end()
  const server = createServer((incoming, response) => {
    const parts: Buffer[] = []
    incoming.on('data', (part: Buffer) => parts.push(part))
    incoming.on('end', () => {
      const { method = '', url = '', headers } = incoming
      const request = { method, url, headers, body: Buffer.concat(parts) }
      seen.push(request)
      void script(request, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    answer(next) {
      script = next
    },
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Script {
  return (_, response) =>
    void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

/** Server-sent events; `event` names them where the protocol does. */
export function events(list: readonly unknown[], named = false, done = false): Script {
  return (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const one of list) {
      if (named) response.write(`event: ${(one as { type: string }).type}\n`)
      response.write(`data: ${JSON.stringify(one)}\n\n`)
    }
    response.end(done ? 'data: [DONE]\n\n' : '')
  }
}
