import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createHttpClient } from '../../shared/http/client.ts'
import { make } from '../handle.testkit.ts'

/** A request as it came over the wire. */
export interface Wire {
  method: string
  path: string
  headers: IncomingHttpHeaders
  body: string
}

export interface Told {
  status?: number
  type?: string
  body: string | Uint8Array | object
}

/** A service on loopback; `answer` says what it answers. */
export async function fakeService(answer: (request: Wire, count: number) => Told): Promise<{
  base: string
  seen: Wire[]
  close(): Promise<void>
  /** A gateway of these deployments whose requests really go out. */
  gateway(...given: Parameters<typeof make>): ReturnType<typeof make>
}> {
  const seen: Wire[] = []
  const http = createHttpClient()
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const wire: Wire = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(parts).toString('utf8'),
      }
      seen.push(wire)
      const { status = 200, type = 'application/json', body } = answer(wire, seen.length)
      response.writeHead(status, { 'content-type': type })
      response.end(typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    async close() {
      await http.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
    gateway: (deployments, changes, others = () => ({}), ...rest) =>
      make(deployments, changes, (clock, own) => ({ ...others(clock, own), http }), ...rest),
  }
}

/** Events of a stream as a server writes them. */
export function eventStream(...events: unknown[]): Told {
  const body = events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join('')
  return { type: 'text/event-stream', body }
}
