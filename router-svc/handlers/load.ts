import { stat } from 'node:fs/promises'
import { isAbsolute, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { HandlerFile } from '../../proto/deployment.ts'
import { handlersOf } from '../../shared/config/handlers.ts'
import type { LoadedConfig } from '../../shared/config/load.ts'
import { StartError } from '../../shared/start-error.ts'
import { completionOverChat } from '../providers/completion-from-chat.ts'
import type { Provider } from '../providers/provider.ts'
import { HANDLER_FUNCTIONS, type Handler, handledProvider } from './handler.ts'

export interface HandlerLoaderDeps {
  /** Where relative paths begin. */
  directory: string
  /** Loads a module; another one in tests. */
  load?(url: string): Promise<unknown>
}

/** A file of the operator's could not be loaded, or holds no provider: which, which export, and what is wrong. */
export class HandlerError extends Error {
  override readonly name = 'HandlerError'
}

/**
 * Loads the modules that `custom_provider_map` names. A file is loaded again when its own time or size has changed; Node keeps modules by their
 * address for the life of the process, so that what such a file imports stays as it was first loaded, and every version loaded stays in memory.
 */
export function createHandlerLoader({ directory, load = (url) => import(url) }: HandlerLoaderDeps): {
  /** The providers of these files, by name. Throws HandlerError for the first that cannot be used. */
  providers(files: readonly HandlerFile[]): Promise<ReadonlyMap<string, Provider>>
} {
  const made = new Map<string, Provider>()

  async function providerOf(file: HandlerFile): Promise<Provider> {
    const path = isAbsolute(file.path) ? file.path : resolve(directory, file.path)
    const place = `custom_provider_map: ${file.provider}: ${path} (${file.export === 'default' ? 'default export' : `export ${file.export}`})`
    const version = await versionOf(path)
    if (version === null)
      throw new HandlerError(`${place}: there is no such file; relative paths begin in ${directory} (TURNPIKE_HANDLERS)`)
    const key = `${file.provider} ${file.export} ${version} ${path}`
    const present = made.get(key)
    if (present !== undefined) return present
    let module: Readonly<Record<string, unknown>>
    try {
      module = (await load(`${pathToFileURL(path).href}?version=${version}`)) as Record<string, unknown>
    } catch (thrown) {
      throw new HandlerError(`${place}: it cannot be loaded: ${thrown instanceof Error ? thrown.message : String(thrown)}`, {
        cause: thrown,
      })
    }
    const exported = module[file.export]
    if (exported === undefined) {
      const names = Object.keys(module)
      throw new HandlerError(`${place}: there is no such export${names.length === 0 ? '' : `; there are ${names.join(', ')}`}`)
    }
    const read = readExport(file.provider, exported)
    if ('problem' in read) throw new HandlerError(`${place}: ${read.problem}`)
    made.set(key, read.provider)
    return read.provider
  }

  return {
    async providers(files) {
      const found = new Map<string, Provider>()
      for (const file of files) found.set(file.provider, await providerOf(file))
      return found
    },
  }
}

/** Loads what the configuration of this process names. Throws StartError for what cannot be used: better at the start than at a call. */
export async function checkHandlers({ config }: Pick<LoadedConfig, 'config'>, directory: string): Promise<void> {
  const { handlers = [] } = handlersOf(config.litellm_settings.custom_provider_map)
  try {
    await createHandlerLoader({ directory }).providers(handlers)
  } catch (thrown) {
    throw new StartError((thrown as Error).message, { cause: thrown })
  }
}

/** Another text when the file is another; null = it cannot be seen. */
async function versionOf(path: string): Promise<string | null> {
  try {
    const { mtimeMs, size } = await stat(path)
    return `${mtimeMs}-${size}`
  } catch {
    return null
  }
}

/** A provider out of what a module exports: one already, or a handler. */
export function readExport(name: string, exported: unknown): { provider: Provider } | { problem: string } {
  if (typeof exported === 'function') return { problem: 'it is a function or a class; export an object (of a class: `new It()`)' }
  if (typeof exported !== 'object' || exported === null)
    return { problem: `expected an object, got ${exported === null ? 'null' : typeof exported}` }
  return 'decodeError' in exported ? readProvider(name, exported as Partial<Provider>) : readHandler(name, exported as Handler)
}

function readProvider(name: string, given: Partial<Provider>): { provider: Provider } | { problem: string } {
  if (typeof given.decodeError !== 'function') return { problem: '"decodeError" is not a function' }
  if (typeof given.auth !== 'object' || given.auth === null) return { problem: 'it has "decodeError" but no "auth": no provider' }
  if (given.base !== null && typeof given.base !== 'string')
    return { problem: '"base" is neither a URL nor null (for deployments that give api_base)' }
  if (!Array.isArray(given.keyNames)) return { problem: '"keyNames" is not a list of environment variables' }
  // Its own methods may stand on a prototype, which a copy would lose.
  const provider = Object.create(given as Provider, { name: { value: name, enumerable: true } }) as Provider
  if (provider.completion !== undefined || provider.chat === undefined) return { provider }
  return { provider: Object.create(provider, { completion: { value: completionOverChat(provider.chat) } }) as Provider }
}

function readHandler(name: string, handler: Handler): { provider: Provider } | { problem: string } {
  const wrong = HANDLER_FUNCTIONS.find((called) => handler[called] !== undefined && typeof handler[called] !== 'function')
  if (wrong !== undefined) return { problem: `"${wrong}" is not a function` }
  const present = HANDLER_FUNCTIONS.filter((called) => handler[called] !== undefined)
  if (present.length === 0) return { problem: `it has none of the functions ${HANDLER_FUNCTIONS.join(', ')}` }
  if (handler.stream !== undefined && handler.completion === undefined)
    return { problem: 'it has "stream" without "completion", which answers calls that are not streamed' }
  return { provider: handledProvider(name, handler) }
}
