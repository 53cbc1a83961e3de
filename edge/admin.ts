import type { AdminMessage } from '../proto/admin.ts'
import type { WireError } from '../proto/errors.ts'
import { WIRE_VERSION } from '../proto/version.ts'
import type { Bus } from '../shared/bus/bus.ts'
import { toGatewayError } from '../shared/errors.ts'
import { callId } from '../shared/ids.ts'
import { answerError } from './answer.ts'
import { collectBody } from './body.ts'
import type { Exchange } from './exchange.ts'
import { Relay } from './relay.ts'

/** Largest body of a management request, bytes. */
const ADMIN_BODY_MAX = 10 * 1024 * 1024
/** Milliseconds for a management request: exports of large ledgers take a while. */
const ADMIN_DEADLINE = 300_000

/** Everything that is not inference, models, health or metrics: carried to accounting, which knows its routes and authenticates by itself. */
export function createAdmin({ bus }: { bus: Bus }): (exchange: Exchange) => Promise<void> {
  return async function admin(exchange) {
    try {
      const body = await collectBody(exchange, ADMIN_BODY_MAX)
      const id = callId()
      const head: AdminMessage = {
        v: WIRE_VERSION,
        callId: id,
        method: exchange.method,
        url: exchange.query === '' ? exchange.path : `${exchange.path}?${exchange.query}`,
        headers: { ...exchange.headers },
        clientIp: exchange.remoteAddress,
      }
      const relay = new Relay(exchange, { translate, onEnd() {} })
      relay.attach(bus.open(bus.subjects.admin, { id, head, body, deadline: ADMIN_DEADLINE }, relay))
    } catch (thrown) {
      answerError(exchange, toGatewayError(thrown))
    }
  }
}

/** The bus calls whoever serves a stream a router; here it is accounting that is away. */
function translate(error: WireError): WireError {
  if (error.code !== 'no_router' && error.code !== 'lost_router') return error
  return { code: 'accounting_away', message: 'The management service is not reachable. Retry later.', retryAfter: 1000 }
}
