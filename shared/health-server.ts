import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'

export interface HealthServer {
  readonly port: number
  stop(): Promise<void>
}

export interface HealthOptions {
  host: string
  /** 0 = a free one. */
  port: number
  /** Whether new work may be sent here. */
  ready(): boolean | Promise<boolean>
  /** Prometheus text in pieces. */
  metrics(): AsyncIterable<string>
}

/** The probes of a process that serves no HTTP of its own: `/health/liveliness`, `/health/readiness`, `/metrics`. */
export async function startHealthServer(options: HealthOptions): Promise<HealthServer> {
  const server = createServer((request, response) => {
    answer(options, request.method ?? '', (request.url ?? '').split('?')[0] ?? '', response).catch(() => {
      // Whoever reads metrics may leave in the middle.
      if (response.headersSent) response.destroy()
      else send(response, 500, 'text/plain', '')
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.host, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(options: HealthOptions, method: string, path: string, response: ServerResponse): Promise<void> {
  if (method !== 'GET' && method !== 'HEAD') return send(response, 405, 'text/plain', 'Method not allowed\n')
  if (path === '/metrics') {
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
    return pipeline(options.metrics(), response)
  }
  if (path === '/health/liveliness' || path === '/health/liveness')
    return send(response, 200, 'application/json', '"I\'m alive!"')
  if (path === '/health/readiness') {
    const ready = await options.ready()
    return send(response, ready ? 200 : 503, 'application/json', JSON.stringify({ status: ready ? 'healthy' : 'unhealthy' }))
  }
  send(response, 404, 'text/plain', 'Not found\n')
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type }).end(body)
}
