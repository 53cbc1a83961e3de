import type { AdminMessage } from '../proto/admin.ts'
import type { RuntimeSettings } from '../proto/deployment.ts'
import type { WireError } from '../proto/errors.ts'
import { WIRE_VERSION } from '../proto/version.ts'
import type { Bus } from '../shared/bus/bus.ts'
import { toGatewayError } from '../shared/errors.ts'
import { callId } from '../shared/ids.ts'
import { answerError } from './answer.ts'
import { credentialOf } from './auth/authenticate.ts'
import type { From, KeyGuesses } from './auth/key-guesses.ts'
import type { Identities } from './auth/virtual-key.ts'
import { collectBody } from './body.ts'
import type { Exchange } from './exchange.ts'
import { Relay } from './relay.ts'

/** Largest body of a management request, bytes. */
const ADMIN_BODY_MAX = 10 * 1024 * 1024
/** Milliseconds for a management request: exports of large ledgers take a while. */
const ADMIN_DEADLINE = 300_000

export interface AdminDeps {
  bus: Bus
  identities: Identities
  guesses: KeyGuesses
  settings: () => RuntimeSettings | null
}

/** Everything that is not inference, models, health or metrics: carried to accounting, which knows its routes and authenticates by itself. */
export function createAdmin({ bus, identities, guesses, settings }: AdminDeps): (exchange: Exchange) => Promise<void> {
  /** Accounting alone knows who may manage; here unknown keys are counted where those of calls are, and known ones held as they are. */
  function recognize(key: string, from: From): void {
    if (!identities.holds(key)) void (async () => identities.resolve(key, from))().catch(() => undefined)
  }

  return async function admin(exchange) {
    try {
      const { headers, remoteAddress } = exchange
      const key = keyOf(headers, settings())
      const from = { headers, remoteAddress }
      if (key !== null && !identities.holds(key)) guesses.check(guesses.whose(from))
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
      const relay = new Relay(exchange, { translate, onEnd: () => key !== null && recognize(key, from) })
      relay.attach(bus.open(bus.subjects.admin, { id, head, body, deadline: ADMIN_DEADLINE }, relay))
    } catch (thrown) {
      answerError(exchange, toGatewayError(thrown))
    }
  }
}

/** The key of a request that needs one; null where nobody does, and without any. */
function keyOf(headers: Exchange['headers'], settings: RuntimeSettings | null): string | null {
  if (settings?.open === true) return null
  try {
    return credentialOf(headers, settings?.keyHeaderName ?? null)
  } catch {
    return null
  }
}

/** The bus calls whoever serves a stream a router; here it is accounting that is away. */
function translate(error: WireError): WireError {
  if (error.code !== 'no_router' && error.code !== 'lost_router') return error
  return { code: 'accounting_away', message: 'The management service is not reachable. Retry later.', retryAfter: 1000 }
}
