import { foundProviders } from '../shared/config/found.ts'
import type { LoadedConfig } from '../shared/config/load.ts'
import type { Environment } from '../shared/config/references.ts'

export interface Greeted {
  urls: string[]
  masterKey: string
  /** Where a key made here is kept; null when it was given. */
  masterKeyFile: string | null
  loaded: LoadedConfig
  dataDirectory: string
  env: Environment
  seconds: string
}

/**
 * What an operator reads once the gateway serves: address, key, what was found, three calls to paste. A key that was given is not
 * repeated: output is often kept, and whoever gave it has it.
 */
export function greeting({ urls, masterKey, masterKeyFile, loaded, dataDirectory, env, seconds }: Greeted): string {
  const url = urls[0] as string
  const key = masterKeyFile === null ? '$LITELLM_MASTER_KEY' : masterKey
  const headers = `-H "Authorization: Bearer ${key}" -H "Content-Type: application/json"`
  const model = modelToTry(loaded)
  const chat = JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'Hello' }] })
  const found = foundProviders(env).map(({ name, variable }) => `${name} (${variable})`)
  const source = loaded.files.length > 0 ? loaded.files.join(', ') : 'none; made from the environment'
  return `
Turnpike is ready at ${urls.join(' and ')} (${seconds} s).

  configuration  ${source}
  models         ${loaded.config.model_list.map((entry) => entry.model_name).join(', ') || 'none'}
  providers      ${found.join(', ') || 'no provider key in the environment'}
  data           ${dataDirectory}
  master key     ${masterKeyFile === null ? 'as given (the calls below expect it in LITELLM_MASTER_KEY)' : `${key}  (kept in ${masterKeyFile})`}

A streamed chat, a new key, what was spent:

  curl -N ${url}/v1/chat/completions ${headers} -d '${chat}'

  curl ${url}/key/generate ${headers} -d '{"key_alias":"first","max_budget":5}'

  curl ${url}/spend/logs ${headers}

Ctrl-C lets running calls end and stops; a second one stops at once.`
}

/** `mock` when it is served, else the first model with a name of its own. */
function modelToTry({ config }: LoadedConfig): string {
  const names = config.model_list.map((entry) => entry.model_name).filter((name) => !name.includes('*'))
  return names.includes('mock') ? 'mock' : (names[0] ?? 'gpt-4o')
}
