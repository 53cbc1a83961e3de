import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { GatewayError } from '../../shared/errors.ts'
import { isFields, text } from './json.ts'
import type { Provider } from './provider.ts'
import { textProvider } from './text-protocol.ts'

/** Without a limit the server refuses. */
const MAX_TOKENS = 256
/** Ignored unless sampling is asked for. */
const SAMPLING = ['temperature', 'top_p', 'top_k']

/** A Petals swarm's HTTP API: a form in, the whole text out; the address is the base itself. */
export function petals(name: string, row: ProviderRow): Provider {
  return textProvider(name, row, {
    request({ prompt }, given, target) {
      const form = new URLSearchParams({ model: target.model, inputs: prompt, max_new_tokens: String(MAX_TOKENS) })
      if (SAMPLING.some((parameter) => given[parameter] !== undefined)) form.set('do_sample', '1')
      for (const [field, value] of Object.entries(given))
        form.set(field, typeof value === 'boolean' ? String(Number(value)) : String(value))
      const headers = { 'content-type': 'application/x-www-form-urlencoded' }
      return { method: 'POST', url: target.base, headers, body: form.toString() }
    },
    answer(answer) {
      if (!isFields(answer)) return []
      if (answer['ok'] === false) {
        // A Python traceback, whose last line says what happened.
        const trace = text(answer['traceback'], 'no reason was given').trim()
        throw new GatewayError('provider_error', trace.slice(trace.lastIndexOf('\n') + 1).slice(0, 500))
      }
      return typeof answer['outputs'] === 'string' ? [{ text: answer['outputs'] }] : []
    },
  })
}
