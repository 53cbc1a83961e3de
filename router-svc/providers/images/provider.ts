import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { decodeError } from '../openai/error.ts'
import { authOf } from '../openai.ts'
import type { Provider } from '../provider.ts'

/** What every provider of a row that makes images says of itself. */
export function imageProvider(
  name: string,
  row: ProviderRow,
  adapters: Pick<Provider, 'image' | 'image_edit' | 'image_variation'>,
  readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body),
): Provider {
  return {
    name,
    auth: authOf(row),
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    ...adapters,
    decodeError: readError,
  }
}
