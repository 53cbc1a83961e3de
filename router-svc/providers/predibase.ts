import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { type Fields, isFields } from './json.ts'
import type { Provider } from './provider.ts'
import { postJson, textProvider } from './text-protocol.ts'
import { generatedTexts, generatedToken } from './tgi.ts'

/** Predibase by LoRAX's own API: adapters are named beside the model (`adapter_id`, `adapter_source`). */
export function predibase(name: string, row: ProviderRow): Provider {
  const provider = textProvider(name, row, {
    request({ prompt, stream }, given, target) {
      const url = `${target.base}/${encodeURIComponent(target.model)}/${stream ? 'generate_stream' : 'generate'}`
      return postJson(url, { inputs: prompt, parameters: { details: true, ...parametersOf(given) } })
    },
    answer: generatedTexts,
    stream: { framing: 'sse', read: generatedToken },
  })
  // The tenant is part of the address (router-svc/credentials/predibase.ts).
  return { ...provider, auth: { type: 'made', kind: 'predibase' } }
}

/** The server refuses zeros, and several answers without sampling. */
function parametersOf(given: Fields): Fields {
  const parameters = { ...given }
  if (parameters['temperature'] === 0) parameters['temperature'] = 0.01
  if (parameters['max_new_tokens'] === 0) parameters['max_new_tokens'] = 1
  if (parameters['best_of'] !== undefined) parameters['do_sample'] ??= true
  const format = parameters['response_format']
  if (isFields(format) && isFields(format['json_schema']))
    parameters['response_format'] = { type: 'json_object', schema: format['json_schema']['schema'] }
  else if (isFields(format) && format['type'] === 'text') delete parameters['response_format']
  return parameters
}
