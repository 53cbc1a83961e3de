import { PROVIDERS } from '../catalog/providers.ts'
import type { Environment } from './references.ts'
import { BARE_WILDCARDS } from './target.ts'

/** Providers whose key is in the environment, with the variable that holds it. Providers that need no key are not listed. */
export function foundProviders(env: Environment): { name: string; variable: string }[] {
  return Object.entries(PROVIDERS).flatMap(([name, row]) => {
    if (row.sharesKey === true) return []
    const variable = row.keys.find((key) => (env[key] ?? '') !== '')
    return variable === undefined ? [] : [{ name, variable }]
  })
}

/**
 * The `model_list` of a gateway that was given none: `<provider>/*` for every provider found, the bare names of their models
 * (`gpt-*`, `claude-*`), and `mock`, which answers without any key, so that there is always something to call. With `--model` only
 * what was asked for is served: `all` is false and the list is empty.
 */
export function environmentModels(env: Environment, all: boolean): { model_name: string; litellm_params: { model: string } }[] {
  if (!all) return []
  const found = foundProviders(env).map(({ name }) => name)
  const wildcards = found.map((name) => entry(`${name}/*`, `${name}/*`))
  const bare = BARE_WILDCARDS.filter(({ provider }) => found.includes(provider)).map(({ name, provider }) =>
    entry(name, `${provider}/${name}`),
  )
  return [entry('mock', 'mock/mock'), ...wildcards, ...bare]
}

function entry(name: string, model: string): { model_name: string; litellm_params: { model: string } } {
  return { model_name: name, litellm_params: { model } }
}
