import type { ProviderRow } from '../catalog/providers.ts'
import { PROVIDERS } from '../catalog/providers.ts'
import { flag, textOrList, z } from '../schema.ts'

const name = () => z.string().min(1)
const parameters = () => z.array(name())

/** A provider that the configuration adds to the table, in snake case as the rest of the file: what `ProviderRow` says of each field. */
export const ownProvider = z
  .strictObject({
    base: z
      .string()
      .refine((value) => /^https?:\/\/[^\s/]+/.test(value), 'expected a URL that starts with http:// or https://')
      .describe('Where its paths begin: https://api.example.com/v1'),
    api_key_env: textOrList().nullish().describe('Environment variables that may hold its key; the first one set counts.'),
    keyless: flag().nullish().describe('Works without a key.'),
    modes: z
      .array(z.enum(['chat', 'completion', 'embedding']))
      .nullish()
      .describe('What it serves; default chat.'),
    headers: z.record(z.string(), z.string()).nullish().describe('Sent with every request.'),
    model_prefix: name().nullish().describe('Put before model names without a slash.'),
    unsupported: parameters().nullish().describe('Parameters it refuses: name, name=value, name>1.'),
    drop: parameters().nullish().describe('Parameters left out without a word.'),
    rename: z.record(z.string(), name()).nullish().describe('OpenAI’s name of a parameter: its name.'),
    max_tokens_name: z.enum(['max_tokens', 'max_completion_tokens']).nullish().describe('The only name it knows for the limit.'),
    no_stream_options: flag().nullish().describe('Refuses stream_options.'),
    flatten_content: flag().nullish().describe('Takes text alone as one string only.'),
    strip_name: flag().nullish().describe('Refuses names of messages.'),
    strict_messages: flag().nullish().describe('Refuses what other vendors put into messages and tools.'),
    plain_tool_schemas: flag().nullish().describe('Refuses strict and additionalProperties in tool schemas.'),
    tool_choice_any: flag().nullish().describe('Says any for tool choice required.'),
    json_schema_as_object: flag().nullish().describe('Says json_object with a schema for JSON schemas.'),
    reasoning_apart: flag().nullish().describe('Leaves reasoning out of completion_tokens.'),
    deviates: z
      .array(z.enum(['finish_reason', 'reasoning', 'usage', 'content', 'tool_calls', 'role']))
      .nullish()
      .describe('Where its answers are not OpenAI’s and must be mended.'),
  })
  .describe('A server that speaks OpenAI’s protocol, under a name of its own.')

export type OwnProvider = z.output<typeof ownProvider>

/** Names stand before a slash in models, so they hold none; and none hides a provider of the table. */
export const ownProviders = () =>
  z.record(z.string(), ownProvider).superRefine((providers, context) => {
    for (const named of Object.keys(providers)) {
      const message = Object.hasOwn(PROVIDERS, named)
        ? `"${named}" is the name of a provider that is known already`
        : `"${named}" is no name of lower-case letters, digits, - and _`
      if (Object.hasOwn(PROVIDERS, named) || !/^[a-z0-9][a-z0-9_-]*$/.test(named))
        context.addIssue({ code: 'custom', path: [named], message })
    }
  })

const FLAGS = [
  ['keyless', 'keyless'],
  ['no_stream_options', 'noStreamOptions'],
  ['flatten_content', 'flattenContent'],
  ['strip_name', 'stripName'],
  ['strict_messages', 'strictMessages'],
  ['plain_tool_schemas', 'plainToolSchemas'],
  ['tool_choice_any', 'toolChoiceAny'],
  ['json_schema_as_object', 'jsonSchemaAsObject'],
  ['reasoning_apart', 'reasoningApart'],
] as const satisfies readonly (readonly [keyof OwnProvider, keyof ProviderRow])[]

/** The rows of the table that a configuration adds. Pure. */
export function ownRows(providers: Readonly<Record<string, OwnProvider>> | null | undefined): Record<string, ProviderRow> {
  return Object.fromEntries(Object.entries(providers ?? {}).map(([named, own]) => [named, rowOf(own)]))
}

function rowOf(own: OwnProvider): ProviderRow {
  const keys = own.api_key_env ?? []
  return {
    protocol: 'openai',
    base: own.base.replace(/\/+$/, ''),
    keys: typeof keys === 'string' ? [keys] : keys,
    ...present({
      modes: own.modes,
      modelPrefix: own.model_prefix,
      unsupported: own.unsupported,
      drop: own.drop,
      rename: own.rename,
      maxTokensName: own.max_tokens_name,
      deviates: own.deviates,
      headers:
        own.headers == null
          ? null
          : Object.fromEntries(Object.entries(own.headers).map(([header, value]) => [header.toLowerCase(), value])),
    }),
    ...Object.fromEntries(FLAGS.filter(([written]) => own[written] === true).map(([, field]) => [field, true])),
  }
}

function present<T extends object>(fields: T): { [Name in keyof T]?: NonNullable<T[Name]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null)) as {
    [Name in keyof T]?: NonNullable<T[Name]>
  }
}
