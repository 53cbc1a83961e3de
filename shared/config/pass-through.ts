import { createHash } from 'node:crypto'
import { CARRIED, type ConfiguredEndpoint } from '../../proto/carried.ts'
import type { RuntimeSettings } from '../../proto/deployment.ts'
import { ENDPOINTS } from '../../proto/endpoints.ts'
import { nanoOf } from '../money.ts'
import { flag, numeric, z } from '../schema.ts'
import type { Findings } from './inspect.ts'
import type { Sealer } from './secrets.ts'

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
const value = z.union([z.string(), z.number(), z.boolean()], { error: 'expected a text' }).transform(String)

/** One of `general_settings.pass_through_endpoints` as it is written. */
export const passThroughEndpoint = z.looseObject({
  id: z.string().nullish().describe('Its name in the management API.'),
  path: z
    .string()
    .regex(/^\/[^?#\s{}]*[^?#\s{}/]$/, 'expected a path that begins with a slash and ends with none')
    .describe('Where the gateway serves it.'),
  target: z
    .string()
    .refine(
      (text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol),
      'expected the address of a server (http or https)',
    )
    .describe('The address its requests go to.'),
  headers: z.record(z.string(), value).nullish().describe('Sent to the target; values may be os.environ/NAME.'),
  include_subpath: flag().nullish().describe('What lies below the path is served below the target; default false.'),
  cost_per_request: numeric({ min: 0 })
    .nullish()
    .describe('Dollars a request costs; default what its usage does, where it is known.'),
  auth: flag().nullish().describe('Callers need a key of the gateway; default false.'),
  forward_headers: flag().nullish().describe('The client’s headers go on, but for credentials; default false.'),
  merge_query_params: flag()
    .nullish()
    .describe('The client’s parameters join the target’s instead of replacing them; default false.'),
  default_query_params: z
    .record(z.string(), value)
    .nullish()
    .describe('Parameters sent where neither client nor target has them.'),
  methods: z
    .array(z.string().toUpperCase().pipe(z.enum(METHODS)))
    .nullish()
    .describe('The methods it serves; default all.'),
  custom_auth_parser: z.enum(['langfuse']).nullish().describe('langfuse: the key is the name of Basic authorization.'),
})

type Written = z.output<typeof passThroughEndpoint>

interface General {
  pass_through_endpoints?: Written[] | null | undefined
  use_client_credentials_pass_through_routes?: boolean | null | undefined
}

/** What edges and routers know of it, secrets sealed. */
export function passThroughOf(
  general: General,
  sealer: Pick<Sealer, 'seal'>,
): Pick<RuntimeSettings, 'clientCredentials' | 'configuredEndpoints'> {
  const endpoints = (general.pass_through_endpoints ?? []).map((written) => endpointOf(written, sealer))
  return {
    ...(general.use_client_credentials_pass_through_routes === true ? { clientCredentials: true as const } : {}),
    ...(endpoints.length === 0 ? {} : { configuredEndpoints: endpoints }),
  }
}

/** Id of an endpoint that was given none: the same for the same path. */
export function idOf({ id, path }: Pick<Written, 'id' | 'path'>): string {
  return id ?? createHash('sha256').update(path).digest('hex').slice(0, 16)
}

function endpointOf(written: Written, { seal }: Pick<Sealer, 'seal'>): ConfiguredEndpoint {
  const given = Object.fromEntries(Object.entries(written.headers ?? {}).map(([name, text]) => [name.toLowerCase(), text]))
  const {
    langfuse_public_key: name,
    langfuse_secret_key: secret,
    langfuse_host: _,
    litellm_user_api_key: keyHeader = null,
    ...headers
  } = given
  if (name !== undefined && secret !== undefined)
    headers['authorization'] = `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`
  return {
    id: idOf(written),
    path: written.path,
    target: written.target,
    headers: Object.fromEntries(Object.entries(headers).map(([header, text]) => [header, seal(text)])),
    subpaths: written.include_subpath ?? false,
    cost: nanoOf(written.cost_per_request ?? 0),
    auth: written.auth ?? false,
    keyHeader: keyHeader?.toLowerCase() ?? null,
    keyIn: written.custom_auth_parser === 'langfuse' ? 'basic' : null,
    forwardHeaders: written.forward_headers ?? false,
    mergeQuery: written.merge_query_params ?? false,
    query: written.default_query_params ?? {},
    methods: written.methods ?? null,
  }
}

/** Two endpoints of one path, or one at a path the gateway serves itself: nobody could say which of them answers. */
export function inspectPassThrough(findings: Findings, tree: Record<string, unknown>): void {
  const general = tree['general_settings'] as { pass_through_endpoints?: unknown } | null | undefined
  const list = general?.pass_through_endpoints
  if (!Array.isArray(list)) return
  const seen = new Map<string, number>()
  for (const [index, entry] of list.entries()) {
    const path = (entry as { path?: unknown } | null)?.path
    if (typeof path !== 'string') continue
    const at = ['general_settings', 'pass_through_endpoints', index, 'path']
    const other = builtIn(path)
    const before = seen.get(path)
    if (other !== null)
      findings.problems.push({ path: at, message: `${path} is in the way of ${other}, which the gateway serves itself` })
    if (before !== undefined)
      findings.problems.push({ path: at, message: `${path} is the path of pass_through_endpoints[${before}], too` })
    seen.set(path, index)
  }
}

/** First segments of what an edge and the management API serve, with `/v1` before them or without. */
const OWN_SEGMENTS: ReadonlySet<string> = new Set(
  `access_group activity add_allowed_ip audit beta budget cache callback callbacks claude-code config cost credentials customer delete_allowed_ip docs
   end_user fallback favicon.ico get global health invitation jwt key login logs mcp metrics model model_access_group model_group models
   onboarding openapi.json organization ping policies policy prices project prompts provider public redoc replay reconcile reprice rejected router
   routes schedule search settings spend sso tag team test ui update usage user utils v2 in_product_nudges internal prove`.split(
    /\s+/,
  ),
)

/** What the gateway serves itself at a path, or null. */
export function builtIn(path: string): string | null {
  const [, own = ''] = /^\/(?:v1\/)?([^/]*)/.exec(path) ?? []
  for (const { path: served, aliases = [] } of [...ENDPOINTS, ...CARRIED] as { path: string; aliases?: readonly string[] }[]) {
    for (const pattern of [served, ...aliases])
      for (const one of pattern.startsWith('/v1/') ? [pattern, pattern.slice(3)] : [pattern]) if (fits(one, path)) return one
  }
  return OWN_SEGMENTS.has(own) ? path.slice(0, path.indexOf(own) + own.length) : null
}

function fits(pattern: string, path: string): boolean {
  const source = pattern
    .replace(/[.*+?^$()|[\]\\]/g, '\\$&')
    .replace(/\{rest\}$/, '.*')
    .replace(/\{\w+\}/g, '[^/]+')
  return new RegExp(`^${source}$`).test(path)
}
