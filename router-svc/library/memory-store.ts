import type { CacheSettings } from '../../proto/routing.ts'
import { noCacheCounts } from '../cache/cache-counts.ts'
import { createLookup, type Lookup } from '../cache/lookup.ts'
import { createMemoryCache } from '../cache/memory.ts'
import type { CacheStore } from '../cache/stores.ts'
import type { Parts } from './parts.ts'

/** The gateway's response cache with answers in this process; the others would bring their stores along. Null = nothing is cached. */
export function createMemoryLookup({ clock }: Parts, settings: CacheSettings | null): Pick<Lookup, 'begin'> {
  if (settings === null) return { begin: () => null }
  const cache = createMemoryCache({ clock, maxEntries: settings.maxEntries, maxBytes: settings.maxBytes })
  const store: CacheStore = {
    type: settings.type,
    cache,
    semantic: null,
    raw: cache,
    vectors: null,
    shared: false,
    redis: null,
  }
  return createLookup({ store: () => store, clock, counts: noCacheCounts })
}
