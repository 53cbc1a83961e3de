import { dirname } from 'node:path'
import type { HandlerFile } from '../../proto/deployment.ts'
import { PROVIDERS } from '../catalog/providers.ts'
import { z } from '../schema.ts'

/** A path, and the export after `#`. */
const FILE = /^(.+\.(?:mjs|js|mts|ts))(?:#([A-Za-z_$][\w$]*))?$/

const PYTHON =
  'expected a JavaScript or TypeScript module, for example ./my-provider.mjs or ./my-provider.ts#exportName; a Python class cannot be loaded here'

/** `custom_provider_map` of `litellm_settings`: names of providers, and the operator's modules that answer for them. */
export const customProviderMap = () =>
  z
    .array(
      z.strictObject({
        provider: z
          .string()
          .regex(/^[A-Za-z0-9][\w.-]*$/, 'expected a name of letters, digits, -, . and _')
          .refine((name) => !Object.hasOwn(PROVIDERS, name), 'is the name of a provider that is known already')
          .describe('What stands before the slash in models it serves.'),
        custom_handler: z
          .string()
          .refine((file) => FILE.test(file), PYTHON)
          .describe('The module, relative to the configuration file; #name for another export than the default.'),
      }),
    )
    .superRefine((entries, context) => {
      for (const [index, { provider }] of entries.entries()) {
        const first = entries.findIndex((entry) => entry.provider === provider)
        if (first === index) continue
        context.addIssue({ code: 'custom', path: [index, 'provider'], message: `is the provider of entry ${first} already` })
      }
    })

/** The files to be loaded, as routers get them. */
export function handlersOf(map: readonly { provider: string; custom_handler: string }[] | null | undefined): {
  handlers?: HandlerFile[]
} {
  const handlers = (map ?? []).map(({ provider, custom_handler }) => {
    const [, path = custom_handler, name = 'default'] = FILE.exec(custom_handler) ?? []
    return { provider, path, export: name }
  })
  return handlers.length === 0 ? {} : { handlers }
}

/** Where relative files are, of a process that read these configuration files. */
export function handlersDirectory(set: string | null, [main]: readonly string[]): string {
  return set ?? (main === undefined ? '.' : dirname(main))
}
