import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { authOf } from '../openai.ts'
import type { Provider } from '../provider.ts'
import { replicateChat } from './chat.ts'
import { replicateImages } from './images.ts'
import { replicateError } from './prediction.ts'

/** Replicate: whatever a model does is a prediction, created and then asked for. */
export function replicate(name: string, row: ProviderRow): Provider {
  return {
    name,
    auth: authOf(row),
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    chat: replicateChat(name, row),
    ...replicateImages(name),
    decodeError: (status, headers, body) => replicateError(name, status, headers, body),
  }
}
