import { type FuzzedGateway, MOCKED, sessionOn } from './gateway.ts'
import { mutateJson, type Random } from './mutate.ts'
import { madeFor, problemsOf, type Schema } from './schema-values.ts'
import type { Case, Target } from './target.ts'

const DEADLINE = 15_000
/** Who asks: an administrator, nobody, somebody with a key that may only make calls. */
const CALLERS = ['master', 'nobody', 'key'] as const

interface Operation {
  method: string
  path: string
  input: Schema
  /** Schemas of documented answers by status. */
  answers: Readonly<Record<string, Schema | null>>
}

interface Document {
  paths: Record<string, Record<string, Described>>
  components: { schemas: Record<string, Schema> }
}

interface Described {
  parameters?: { name: string; in: string; required?: boolean; schema: Schema }[]
  requestBody?: { content: { 'application/json'?: { schema: Schema } } }
  responses: Record<string, { content?: { 'application/json'?: { schema: Schema } } }>
}

/** What would end the run, change who may ask, or wait for others. */
const LEFT: ReadonlySet<string> = new Set(['POST /prove'])
/** Statuses any management request may have: refusals are of one form, which the document names once. */
const REFUSALS: ReadonlySet<number> = new Set([400, 401, 403, 404, 405, 409, 413, 422, 429])

/** Every operation of the management API, with values made of its own description, against a running gateway. */
export const management: Target = {
  name: 'management',
  about:
    'every operation of the management API by its own OpenAPI document, valid and nearly so, with the master key, a plain one and none',
  deadline: DEADLINE,
  inProcess: false,
  memoryLimit: 64 * 1024 * 1024,
  async open({ gateway: started }) {
    const gateway = await started()
    const document = (await (await gateway.ask('/openapi.json')).json()) as Document
    const operations = operationsOf(document)
    const { schemas } = document.components
    const session = sessionOn(gateway, {
      make: (random) => makeCase(operations, schemas, random),
      run: (one) => send(gateway, operations, schemas, one),
    })
    return {
      ...session,
      async check() {
        // An administrator among the cases may have blocked the model that the plain call names.
        await gateway.ask('/model/unblock', {
          method: 'POST',
          headers: { authorization: `Bearer ${gateway.masterKey}`, 'content-type': 'application/json' },
          body: JSON.stringify({ model_name: MOCKED }),
        })
        return session.check()
      },
    }
  },
}

function operationsOf({ paths }: Document): Operation[] {
  return Object.entries(paths)
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([name, described]): Operation => {
        const { parameters = [], requestBody, responses } = described
        const named = Object.fromEntries(parameters.map((one) => [one.name, one.schema]))
        const required = parameters.filter((one) => one.required).map((one) => one.name)
        const body = requestBody?.content['application/json']?.schema
        return {
          method: name.toUpperCase(),
          path,
          input:
            body === undefined
              ? { type: 'object', properties: named, required }
              : { allOf: [body, { type: 'object', properties: named, required }] },
          answers: Object.fromEntries(
            Object.entries(responses).map(([status, { content }]) => [status, content?.['application/json']?.schema ?? null]),
          ),
        }
      }),
    )
    .filter(({ method, path }) => !LEFT.has(`${method} ${path}`))
}

function makeCase(operations: readonly Operation[], schemas: Readonly<Record<string, Schema>>, random: Random): Case {
  const { method, path, input } = random.pick(operations)
  const caller = random.chance(0.8) ? 'master' : random.pick(CALLERS)
  const value = madeFor(input, schemas, random)
  const fields = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  const place = (name: string): string =>
    encodeURIComponent(typeof fields[name] === 'string' ? (fields[name] as string).toWellFormed() : 'a').replace(/^\.*$/, 'a')
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => place(name))
  const query = new URLSearchParams(
    Object.entries(fields).map(([name, one]): [string, string] => [
      name,
      typeof one === 'string' ? one : (JSON.stringify(one) ?? ''),
    ]),
  )
  const address = method === 'GET' ? `${filled}?${odd(query.toString(), random)}` : filled
  const body =
    method === 'GET' ? Buffer.alloc(0) : random.chance(0.5) ? Buffer.from(JSON.stringify(value)) : mutateJson(value, random)
  return { head: { method, path, address, caller }, body }
}

function odd(query: string, random: Random): string {
  return random.chance(0.15)
    ? query.replace(
        /=[^&]*/,
        `=${random.pick(['%00', '%ED%A0%80', '-1', '1e99', '%', '99999999999999999999', '2024-13-45', '[]', "'%20OR%201=1--", '\u{1f4a5}'.repeat(500), ''])}`,
      )
    : query
}

async function send(
  gateway: FuzzedGateway,
  operations: readonly Operation[],
  schemas: Readonly<Record<string, Schema>>,
  { head, body }: Case,
): Promise<string | null> {
  const { method, path, address, caller } = head as {
    method: string
    path: string
    address: string
    caller: (typeof CALLERS)[number]
  }
  const { answers } = operations.find((one) => one.method === method && one.path === path) ?? {
    answers: {} as Operation['answers'],
  }
  const key = { master: gateway.masterKey, key: gateway.key, nobody: null }[caller]
  const response = await gateway.ask(address, {
    method,
    redirect: 'manual',
    headers: { 'content-type': 'application/json', ...(key === null ? {} : { authorization: `Bearer ${key}` }) },
    ...(method === 'GET' ? {} : { body: body as Uint8Array<ArrayBuffer> }),
    signal: AbortSignal.timeout(DEADLINE - 1000),
  })
  const text = await response.text()
  const { status } = response
  const where = `${method} ${path} as ${caller}`
  const leak = gateway.leak(text)
  // Whoever makes a key is told it, and what was sent is told back.
  if (
    leak !== null &&
    !(leak.includes('insides') && body.length > 0 && Buffer.from(body).toString('utf8').includes(leak.slice(-12)))
  )
    return `${where}: ${leak}: ${text.slice(0, 300)}`
  // Without a cache of the kind that is asked about there is nothing to tell, which clients know by this status.
  if (status === 503 && text.includes('"cache_ping_error"')) {
    gateway.complaints()
    return null
  }
  if (answers[status] === undefined && !REFUSALS.has(status))
    return `${where}: status ${status}, which is not documented: ${text.slice(0, 300)}`
  if (status >= 500) return `${where}: status ${status}: ${text.slice(0, 300)}`
  const unlike = status < 300 ? unlikeSchema(answers[status] ?? null, schemas, response, text) : wrongRefusal(status, text)
  return (unlike === null ? null : `${where}: ${unlike}`) ?? gateway.complaints()[0] ?? null
}

function unlikeSchema(
  schema: Schema | null,
  schemas: Readonly<Record<string, Schema>>,
  { headers }: Response,
  text: string,
): string | null {
  if (schema === null || !headers.get('content-type')?.startsWith('application/json')) return null
  const problems = problemsOf(JSON.parse(text), schema, schemas)
  return problems.length === 0
    ? null
    : `the answer is not as documented: ${problems.slice(0, 3).join('; ')} in ${text.slice(0, 300)}`
}

function wrongRefusal(status: number, text: string): string | null {
  let body: { error?: { message?: unknown; code?: unknown }; detail?: unknown }
  try {
    body = JSON.parse(text)
  } catch {
    return `a refusal that is no JSON: ${text.slice(0, 200)}`
  }
  if (status === 422 && Array.isArray(body.detail) && body.detail.length > 0) return null
  const { error } = body
  return typeof error?.message === 'string' && error.message !== '' && error.code === String(status)
    ? null
    : `a refusal of status ${status} in another form: ${text.slice(0, 200)}`
}
