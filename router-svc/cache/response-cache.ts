import type { CacheSettings } from '../../proto/routing.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { createLookup, type Lookup } from './lookup.ts'
import { serveCache } from './serve-cache.ts'
import { createCacheStores, type StoresDeps } from './stores.ts'

export interface ResponseCacheDeps extends StoresDeps {
  bus: Bus
  /** Of the runtime in force; null = nothing is cached, or there is no runtime yet. */
  settings(): CacheSettings | null
}

/** The response cache of one router (surface reference §8). Opens nothing until settings ask for it. */
export interface ResponseCache extends Lookup {
  /** Closes the store once settings ask for none; calls do not tell. Called now and then. */
  closeUnused(): void
  stop(): Promise<void>
}

export function createResponseCache(deps: ResponseCacheDeps): ResponseCache {
  const { clock, counts } = deps
  const stores = createCacheStores(deps)
  const lookup = createLookup({ store: (settings) => stores.of(settings), clock, counts })
  const service = serveCache({ ...deps, stores })
  return {
    begin: (call, runtime) => lookup.begin(call, runtime),
    closeUnused() {
      if (deps.settings() === null) stores.none()
    },
    async stop() {
      await service.stop()
      await stores.close()
    },
  }
}

/** For routers that cache nothing, and tests of other things. */
export const noResponseCache: ResponseCache = { begin: () => null, closeUnused() {}, stop: async () => undefined }
