import type { UsageEvent } from '../../proto/usage.ts'
import type { Codec } from '../../shared/bus/codec.ts'
import { type Catalog, createCatalog } from '../../shared/catalog/catalog.ts'
import { type Clock, DeadlineWheel, systemClock } from '../../shared/clock.ts'
import type { Environment } from '../../shared/config/references.ts'
import { createSealer, type Sealer } from '../../shared/config/secrets.ts'
import { createHttpClient, type HttpClient } from '../../shared/http/client.ts'
import type { Log } from '../../shared/log.ts'
import { createTokenCounter, type TokenCounter } from '../count-tokens.ts'
import { createTokens, type Tokens } from '../credentials/tokens.ts'
import { createProviders } from '../providers/index.ts'
import { createMemoryResponses } from '../responses/memory.ts'
import { createResponses, type Responses } from '../responses/turn.ts'

/** What calls of one router of this library share, whatever they ask for. Nothing here is on disk, listens, or keeps the process alive. */
export interface Parts {
  env: Environment
  clock: Clock
  random(): number
  http: HttpClient
  wheel: DeadlineWheel
  catalog: Catalog
  providers: ReturnType<typeof createProviders>
  sealer: Sealer
  credentials: Tokens
  tokens: TokenCounter
  responses: Responses
  codec: Codec
  log: Log
  /** Told of every call that ended, before its answer ends. */
  booked(event: UsageEvent): void
}

export interface PartsOptions {
  env: Environment
  booked(event: UsageEvent): void
  /** Told why a call failed inside the router. */
  caused(callId: string, cause: unknown): void
  /** Default: nothing is logged. */
  log?: Log | undefined
}

export function createParts({ env, booked, caused, log: given = silent }: PartsOptions): Parts {
  const log = tellingCauses(given, caused)
  const clock = systemClock
  const http = createHttpClient()
  // Nothing leaves the process that would have to be sealed.
  const sealer = createSealer(null)
  return {
    env,
    clock,
    random: Math.random,
    http,
    wheel: new DeadlineWheel(clock),
    catalog: createCatalog(),
    providers: createProviders(),
    sealer,
    credentials: createTokens({ http }),
    tokens: createTokenCounter(),
    responses: createResponses({ store: createMemoryResponses({ clock }), sealer, clock, log }),
    codec: noCodec,
    log,
    booked,
  }
}

function tellingCauses(log: Log, caused: PartsOptions['caused']): Log {
  return {
    debug: (fields, text) => log.debug(fields, text),
    info: (fields, text) => log.info(fields, text),
    warn: (fields, text) => log.warn(fields, text),
    error(fields, text) {
      const { callId, err } = fields as { callId?: unknown; err?: unknown }
      if (typeof callId === 'string' && err !== undefined) caused(callId, err)
      log.error(fields, text)
    },
    child: (fields) => log.child(fields),
  }
}

const NOTHING = new Uint8Array(0)

/** What a gateway's edge would book if its router died: here both die together. */
const noCodec = { encode: () => NOTHING } as unknown as Codec

/** Not the one of shared/log.ts, which brings a logging library along. */
const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
