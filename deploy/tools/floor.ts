import { parseArgs } from 'node:util'
import { EDGE_DEFAULTS } from '../../edge/edge.ts'
import type { Exchange } from '../../edge/exchange.ts'
import { createServer } from '../../edge/server.ts'
import { systemClock } from '../../shared/clock.ts'
import { createHttpClient } from '../../shared/http/client.ts'
import { silentLog } from '../../shared/log.ts'

/**
 * What no gateway made of these parts can go below: our HTTP server and our HTTP client with nothing between. A POST goes to the provider as it
 * came and its answer comes back as it is. The bench measures it in the same run, so that a slow hour of the machine is told from a slow gateway.
 *
 *   node deploy/tools/floor.ts --port N --provider URL
 */
const { values } = parseArgs({ options: { port: { type: 'string' }, provider: { type: 'string' } } })
if (values.port === undefined || values.provider === undefined) throw new Error('floor.ts needs --port and --provider')
const provider = values.provider

const http = createHttpClient()
const HEADERS = { 'content-type': 'application/json', authorization: 'Bearer fake' }
const FORWARDED = ['content-type']

function forward(exchange: Exchange): void {
  if (exchange.method === 'GET') {
    exchange.respond(200, {}, 'ready')
    return
  }
  const parts: Uint8Array[] = []
  exchange.onBody((bytes, last) => {
    parts.push(bytes)
    if (last) send(exchange, parts.length === 1 ? bytes : Buffer.concat(parts))
  })
}

function send(exchange: Exchange, body: Uint8Array): void {
  const request = {
    method: 'POST' as const,
    url: provider + exchange.path,
    headers: HEADERS,
    body,
    headersTimeout: 0,
    bodyTimeout: 0,
  }
  const call = http.send(request, {
    head: (status, headers) => {
      const kept = FORWARDED.filter((name) => headers[name] !== undefined).map((name) => [name, headers[name] as string])
      exchange.start(status, Object.fromEntries(kept))
    },
    data: (bytes) => {
      exchange.write(bytes)
    },
    end: () => exchange.end(),
    failed: () => exchange.destroy(),
  })
  exchange.onAbort = () => call.abort()
}

const server = await createServer({
  settings: { ...EDGE_DEFAULTS, host: '127.0.0.1', port: Number(values.port) },
  clock: systemClock,
  log: silentLog,
  handler: forward,
  copies: () => () => false,
})

process.once('SIGTERM', () => {
  server.stop()
  void http.close()
})
