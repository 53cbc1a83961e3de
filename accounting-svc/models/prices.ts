import type { Deployment, Prices } from '../../proto/deployment.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import type { Clock, Timer } from '../../shared/clock.ts'
import { pricesOfFields } from '../../shared/config/prices.ts'
import { targetOf } from '../../shared/config/target.ts'
import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import type { Log } from '../../shared/log.ts'
import { actorOf } from '../identity/access.ts'
import { auditEntry } from '../identity/audit.ts'
import type { Writer } from '../identity/writer.ts'
import { audit } from '../sql/audit.ts'
import { deletePriceOverride, insertPriceOverride, listPriceOverrides, type PriceOverrideRow } from '../sql/prices.ts'
import type { PriceBook } from './price-book.ts'
import type { Runtime } from './runtime.ts'

/** Prices set through the API hold for calls that start at or after `effectiveFrom`, on every router, until a newer one begins. */
export interface PriceOverrides {
  /**
   * Sets prices, given under LiteLLM's names, over the list prices of that moment. Without a provider the name of the model tells it.
   * Throws GatewayError `bad_request`.
   */
  set(
    given: { provider?: string | undefined; model: string; effectiveFrom?: number | undefined; fields: Record<string, unknown> },
    by: Writer,
  ): Promise<PriceOverrideRow>
  list(filter: { provider?: string | undefined; model?: string | undefined }): Promise<PriceOverrideRow[]>
  /** Throws GatewayError `not_found`. */
  remove(id: string, by: Writer): Promise<PriceOverrideRow>
}

/** Versions of prices set through the API begin with this. */
const FROM_API = 'api'

export function createPriceOverrides(deps: {
  db: Database
  catalog: Catalog
  book: PriceBook
  runtime: Pick<Runtime, 'reprice'>
  clock: Pick<Clock, 'now'>
}): PriceOverrides {
  const { db, catalog, book, runtime, clock } = deps

  /** The runtime that is published again tells all others; they read the table again. */
  async function changed(): Promise<void> {
    await book.load()
    await runtime.reprice()
  }

  return {
    async set({ provider, model, effectiveFrom, fields }, by) {
      const target = targetOf(model, provider, catalog)
      if (target.kind !== 'served')
        throw badRequest(
          'model',
          target.kind === 'unknown' ? `model ${target.problem}.` : `The provider "${target.provider}" is not served.`,
        )
      const from = effectiveFrom ?? clock.now()
      const prices = readPrices(FROM_API, fields, catalog.prices(target.provider, target.model, from))
      const row = await db.transaction(async (tx) => {
        const made = await insertPriceOverride(tx, {
          id: rowId(),
          provider: target.provider,
          model: target.model,
          prices,
          effective_from: new Date(from),
          created_by: actorOf(by.actor),
        })
        await audit(tx, auditEntry(by.actor, by.changedBy, 'created', 'price_overrides', made.id, null, made))
        return made
      })
      await changed()
      return row
    },
    async list({ provider, model }) {
      const rows = await listPriceOverrides(db)
      return rows.filter(
        (row) => (provider === undefined || row.provider === provider) && (model === undefined || row.model === model),
      )
    },
    async remove(id, by) {
      const row = await db.transaction(async (tx) => {
        const gone = await deletePriceOverride(tx, id)
        if (gone === undefined) throw new GatewayError('not_found', `There are no prices with the id ${id}.`, { param: 'id' })
        await audit(tx, auditEntry(by.actor, by.changedBy, 'deleted', 'price_overrides', id, gone, null))
        return gone
      })
      await changed()
      return row
    },
  }
}

/** Prices from a client's fields. Throws GatewayError `bad_request` that says which field is wrong, or that there is none. */
export function readPrices(source: string, fields: Record<string, unknown>, listed: Prices | null): Prices {
  let prices: Prices | null
  try {
    prices = pricesOfFields(source, fields, listed)
  } catch (error) {
    if (error instanceof RangeError) throw badRequest(undefined, `A price is not valid: ${error.message}.`)
    throw error
  }
  if (prices === null) throw badRequest('input_cost_per_token', 'No price is given, for example input_cost_per_token.')
  return prices
}

function badRequest(param: string | undefined, text: string): GatewayError {
  return new GatewayError('bad_request', text, { type: 'bad_request_error', ...(param === undefined ? {} : { param }) })
}

/** The longest wait between two looks at the table, milliseconds: the announcement of a change may be lost. */
const LOOK_EVERY = 60_000

/**
 * Keeps this process's prices those of the table: reads it when another process has published, when an override begins, and every
 * minute. What begins is published by whoever notices; publishing it twice changes nothing.
 */
export function watchPrices(deps: { bus: Bus; clock: Clock; book: PriceBook; runtime: Runtime; log: Log }): Service {
  const { bus, clock, book, runtime, log } = deps
  let timer: Timer | null = null
  let stopped = false

  const failed = (error: unknown): void => log.error({ err: error }, 'prices could not be read')

  async function look(): Promise<void> {
    const before = versions(runtime.deployments)
    await book.load()
    if (versions(book.again()) !== before) await runtime.reprice()
  }

  function schedule(): void {
    if (stopped) return
    const next = book.nextChange()
    const wait = next === null ? LOOK_EVERY : Math.min(LOOK_EVERY, Math.max(0, next - clock.now()))
    timer = clock.after(wait, () => {
      look().catch(failed).finally(schedule)
    })
  }

  const changes = bus.onChange('deployment', () => {
    book
      .load()
      .then(() => runtime.reprice(true))
      .catch(failed)
  })
  schedule()
  return {
    async stop() {
      stopped = true
      timer?.cancel()
      await changes.stop()
    },
  }
}

function versions(deployments: readonly Deployment[]): string {
  return deployments.map(({ prices }) => prices?.rateVersion ?? '').join(' ')
}
