import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { entryOf } from '../../shared/entry.ts'
import { openai } from './openai.ts'
import type { Auth, Provider } from './provider.ts'

/** Services that serve no model: their own APIs are all there is of them, behind pass-through routes. */
const SITES: Readonly<Record<string, Pick<ProviderRow, 'base' | 'keys' | 'bases'> & { auth: Auth }>> = {
  cursor: {
    base: 'https://api.cursor.com',
    keys: ['CURSOR_API_KEY'],
    bases: ['CURSOR_API_BASE'],
    auth: { type: 'made', kind: 'cursor' },
  },
  langfuse: {
    base: 'https://cloud.langfuse.com',
    keys: ['LANGFUSE_SECRET_KEY'],
    bases: ['LANGFUSE_HOST', 'LANGFUSE_BASE_URL'],
    auth: { type: 'made', kind: 'langfuse' },
  },
  milvus: { base: null, keys: ['MILVUS_API_KEY'], bases: ['MILVUS_API_BASE'], auth: { type: 'bearer', optional: true } },
}

/** A service of that name, without any adapter. */
export function siteOf(name: string): Provider | undefined {
  const site = entryOf(SITES, name)
  if (site === undefined) return undefined
  const { base, keys, bases = [], auth } = site
  const { decodeError } = openai(name, { protocol: 'openai', base, keys, bases })
  return { name, auth, base, keyNames: keys, baseNames: bases, decodeError }
}
