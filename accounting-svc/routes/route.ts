import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi'
import type { Identity } from '../../proto/identity.ts'
import { PRODUCT_VERSION } from '../../proto/version.ts'
import { GatewayError, openaiErrorBody } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'
import { refuseDeepBody } from '../../shared/nesting.ts'
import type { Access } from '../identity/access.ts'

export { z }

/** What a handler gets: checked input and who asks. */
export interface RouteCall<Input> {
  input: Input
  identity: Identity
  /** A request header by its lower-case name. */
  header(name: string): string | undefined
  /** Aborted when the client leaves; a long answer stops there. */
  signal: AbortSignal
}

/**
 * One management route. The same entry gives the handler, the permission, the validation and the page in /openapi.json. Input is
 * the query of a GET and the JSON body of everything else (of a DELETE both), and with either what stands in the path for `{name}`: that
 * wins over a field of the same name. A handler returns a value for JSON, or a whole Response.
 */
export interface Route<Input extends z.ZodType = z.ZodType> {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  path: string
  /** Other paths of the same route. */
  aliases?: string[]
  tag: string
  summary: string
  access: Access
  input: Input
  output: z.ZodType
  /** Of a value that is answered; default 200. */
  status?: 200 | 201
  /** Left out of /openapi.json: pages and files. */
  hidden?: boolean
  handle(call: RouteCall<z.output<Input>>): unknown
}

/** Types a route by its input schema, and forgets the type so that routes of all kinds fit one list. */
export function route<Input extends z.ZodType>(entry: Route<Input>): Route {
  return entry as unknown as Route
}

export interface RouterDeps {
  routes: readonly Route[]
  /** Who sends this request; throws GatewayError when nobody may. Not called for public routes. */
  authenticate(header: (name: string) => string | undefined, path: string): Promise<Identity>
  /** Throws GatewayError when `identity` may not call the route. */
  authorize(identity: Identity, access: Access, method: string, path: string): void
  /** Told of whatever is not a GatewayError of the 4xx kind. */
  onError(error: unknown, method: string, path: string): void
  /** Largest body taken, bytes. */
  bodyLimit: number
  /** Stands in for the caller of a public route. */
  nobody: Identity
}

export interface RequestRouter {
  fetch(request: Request): Promise<Response>
  /** The OpenAPI 3.1 document of all routes that are not hidden. */
  document(): object
  /** Every path with its methods. */
  list(): { path: string; methods: string[] }[]
}

/** Builds the dispatcher of all routes: one `fetch` behind both doors (http.ts). */
export function createRequestRouter(deps: RouterDeps): RequestRouter {
  const app = new OpenAPIHono()
  const methods = new Map<string, string[]>()
  const doors = deps.routes.flatMap((entry) => [entry.path, ...(entry.aliases ?? [])].map((path) => ({ entry, path })))

  // The dispatcher takes the first that fits: a path as it is goes before one with a name in it, so that no list's order decides.
  for (const { entry, path } of doors.toSorted((a, b) => namesIn(a.path).length - namesIn(b.path).length)) {
    methods.set(path, [...(methods.get(path) ?? []), entry.method])
    app.on(entry.method, path.replaceAll(NAME, ':$1'), (context) =>
      answer(entry, path, context.req.raw, namesIn(path).length === 0 ? {} : context.req.param()),
    )
  }
  for (const entry of deps.routes) if (entry.hidden !== true) app.openAPIRegistry.registerPath(describe(entry))

  async function answer(entry: Route, path: string, request: Request, named: Record<string, string>): Promise<Response> {
    const header = (name: string): string | undefined => request.headers.get(name) ?? undefined
    let identity = deps.nobody
    if (entry.access !== 'public') {
      identity = await deps.authenticate(header, path)
      deps.authorize(identity, entry.access, request.method, path)
    }
    const place = entry.method === 'GET' ? 'query' : 'body'
    const sent = place === 'query' ? queryOf(request) : await bodyOf(request, deps.bodyLimit)
    const query = entry.method === 'DELETE' ? queryOf(request) : {}
    refuseUnstorable(sent, place)
    refuseUnstorable({ ...query, ...named }, '')
    const parsed = entry.input.safeParse(isObject(sent) ? { ...query, ...sent, ...named } : sent)
    if (!parsed.success) return unprocessable(place, named, parsed.error)
    const result = await entry.handle({ input: parsed.data, identity, header, signal: request.signal })
    return result instanceof Response ? result : json(result, entry.status)
  }

  app.openAPIRegistry.registerComponent('securitySchemes', 'key', { type: 'http', scheme: 'bearer' })

  app.notFound((context) => {
    const { pathname } = new URL(context.req.url)
    const allowed = allowedAt(methods, pathname)
    if (allowed.length === 0) return errorResponse(new GatewayError('not_found', `There is no route ${pathname}.`))
    const response = errorResponse(new GatewayError('method_not_allowed', `${pathname} takes ${allowed.join(', ')}.`))
    response.headers.set('allow', allowed.join(', '))
    return response
  })

  app.onError((error, context) => {
    const known = error instanceof GatewayError ? error : new GatewayError('internal', undefined, { cause: error })
    if (known.status >= 500) deps.onError(error, context.req.method, new URL(context.req.url).pathname)
    return errorResponse(known)
  })

  return {
    fetch: async (request) => app.fetch(request),
    document: () =>
      app.getOpenAPI31Document({
        openapi: '3.1.0',
        info: { title: 'Turnpike', version: PRODUCT_VERSION, description: 'Management API. Model calls follow the OpenAI API.' },
        security: [{ key: [] }],
      }),
    list: () => [...methods].map(([path, allowed]) => ({ path, methods: allowed })),
  }
}

/** `{name}` in a path. */
const NAME = /\{(\w+)\}/g

function namesIn(path: string): string[] {
  return [...path.matchAll(NAME)].map((match) => match[1] ?? '')
}

/** The methods of every route whose path fits. */
function allowedAt(methods: ReadonlyMap<string, string[]>, pathname: string): string[] {
  const parts = pathname.split('/')
  const fitting = [...methods].filter(([path]) => {
    const pattern = path.split('/')
    return (
      pattern.length === parts.length &&
      pattern.every((part, index) => part === parts[index] || (part.startsWith('{') && parts[index] !== ''))
    )
  })
  return [...new Set(fitting.flatMap(([, allowed]) => allowed))]
}

/** A value as a JSON response. */
export function json(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), { status, headers: { 'content-type': 'application/json' } })
}

/** The error envelope. */
export function errorResponse(error: GatewayError): Response {
  const response = json(openaiErrorBody(error), error.status)
  if (error.retryAfter !== undefined) response.headers.set('retry-after', String(Math.ceil(error.retryAfter / 1000)))
  return response
}

/** The last value of each name, as text; schemas turn it into what they want. */
function queryOf(request: Request): Record<string, string> {
  return Object.fromEntries(new URL(request.url).searchParams)
}

/** The JSON body; nothing at all reads as `{}`, so that a route without required fields can be called without one. */
async function bodyOf(request: Request, limit: number): Promise<unknown> {
  if (Number(request.headers.get('content-length') ?? 0) > limit) throw new GatewayError('body_too_large')
  const text = await request.text()
  if (text.length > limit) throw new GatewayError('body_too_large')
  if (text.trim() === '') return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new GatewayError('invalid_json', `The request body is not valid JSON${positionOf(error)}.`)
  }
  refuseDeepBody(value)
  return value
}

/** PostgreSQL's texts and JSON hold neither. Throws GatewayError `bad_request` naming where one stands. */
function refuseUnstorable(value: unknown, path: string): void {
  if (typeof value === 'string') {
    if (!value.includes('\0') && value.isWellFormed()) return
    throw new GatewayError(
      'bad_request',
      `${path || 'The request'} holds a character that cannot be kept: NUL, or half of a surrogate pair.`,
    )
  }
  if (typeof value !== 'object' || value === null) return
  for (const [name, member] of Object.entries(value)) {
    const inner = path === '' ? name : `${path}.${name}`
    refuseUnstorable(name, path)
    refuseUnstorable(member, inner)
  }
}

/** Where the parser stopped. Its own message quotes the body, which may hold a secret. */
function positionOf(error: unknown): string {
  const match = /position (\d+)/.exec(error instanceof Error ? error.message : '')
  return match === null ? '' : ` (at character ${match[1]})`
}

/** FastAPI's shape of a schema failure, without the values that were sent (surface reference §0). */
function unprocessable(place: 'body' | 'query', named: Record<string, string>, error: z.ZodError): Response {
  const detail = error.issues.map((issue) => ({
    loc: [
      Object.hasOwn(named, issue.path[0] ?? '') ? 'path' : place,
      ...issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part)),
    ],
    msg: missing(issue) ? 'Field required' : issue.message,
    type: missing(issue)
      ? 'missing'
      : issue.code === 'invalid_type'
        ? `${TYPES[issue.expected] ?? issue.expected}_type`
        : issue.code,
  }))
  return json({ detail }, 422)
}

/** Type names as FastAPI says them, where they differ. */
const TYPES: Readonly<Record<string, string>> = {
  array: 'list',
  object: 'dict',
  record: 'dict',
  number: 'float',
  boolean: 'bool',
}

function missing(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'invalid_type' && issue.message.endsWith('received undefined')
}

const ERROR = z
  .object({
    error: z.object({ message: z.string(), type: z.string(), param: z.string().nullable(), code: z.string() }),
  })
  .openapi('Error')

const UNPROCESSABLE = z
  .object({ detail: z.array(z.object({ loc: z.array(z.union([z.string(), z.number()])), msg: z.string(), type: z.string() })) })
  .openapi('ValidationError')

function describe(entry: Route): Parameters<OpenAPIHono['openAPIRegistry']['registerPath']>[0] {
  const content = (schema: z.ZodType): { 'application/json': { schema: z.ZodType } } => ({ 'application/json': { schema } })
  const reads = entry.method === 'GET'
  const names = namesIn(entry.path)
  const input = names.length > 0 && entry.input instanceof z.ZodObject ? without(entry.input, names) : entry.input
  const params = z.object(Object.fromEntries(names.map((name) => [name, z.string()])))
  return createRoute({
    method: entry.method.toLowerCase() as 'get',
    path: entry.path,
    tags: [entry.tag],
    summary: entry.summary,
    ...(entry.access === 'public' ? { security: [] } : {}),
    request: {
      ...(names.length === 0 ? {} : { params }),
      ...(reads ? { query: input as z.ZodObject } : { body: { content: content(input) } }),
    },
    responses: {
      [entry.status ?? 200]: { description: 'Done', content: content(entry.output) },
      ...(entry.access === 'public' ? {} : { 401: { description: 'Who are you', content: content(ERROR) } }),
      422: { description: 'The input does not fit', content: content(UNPROCESSABLE) },
    },
  })
}

/** The fields that do not stand in the path. */
function without(input: z.ZodObject, names: readonly string[]): z.ZodObject {
  return z.object(Object.fromEntries(Object.entries(input.shape).filter(([name]) => !names.includes(name))))
}
