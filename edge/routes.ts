import { CARRIED, type CarriedEndpoint } from '../proto/carried.ts'
import { ENDPOINTS, type Endpoint } from '../proto/endpoints.ts'
import type { CarriedRoute } from './inference.ts'

/** What a path means here. Everything else is management and goes to accounting. */
export type Target =
  | { kind: 'inference'; endpoint: Endpoint; model: string | null }
  | { kind: 'carried'; endpoint: CarriedEndpoint; params: Record<string, string>; access?: Pick<CarriedRoute, 'isOpen' | 'key'> }
  | { kind: 'models' }
  | { kind: 'model'; model: string }
  | { kind: 'liveness' | 'readiness' | 'metrics' | 'telemetry' }

interface Pattern {
  before: string
  after: string
  target: (captured: string) => Target
}

/** Methods of a target; HEAD is GET without a body. */
export function methodsOf(target: Target): readonly string[] {
  if (target.kind === 'inference') return [target.endpoint.method]
  if (target.kind === 'carried') return target.endpoint.methods
  if (target.kind === 'telemetry') return ['POST']
  return target.kind === 'liveness' || target.kind === 'readiness' ? ['GET', 'HEAD', 'OPTIONS'] : ['GET', 'HEAD']
}

/** Paths with one fixed meaning. */
const FIXED: Readonly<Record<string, Target>> = {
  '/v1/models': { kind: 'models' },
  '/models': { kind: 'models' },
  '/health/liveliness': { kind: 'liveness' },
  '/health/liveness': { kind: 'liveness' },
  '/health/readiness': { kind: 'readiness' },
  '/metrics': { kind: 'metrics' },
  '/api/event_logging/batch': { kind: 'telemetry' },
  '/metrics/': { kind: 'metrics' },
}

/** The route table: path → target, null for what accounting serves. Built once from the endpoint table. */
export function createRoutes(
  endpoints: readonly Endpoint[] = ENDPOINTS,
  carried: readonly CarriedEndpoint[] = CARRIED,
): (path: string, method?: string) => Target | null {
  const exact = new Map<string, Target>(Object.entries(FIXED))
  const patterns: Pattern[] = []
  for (const endpoint of endpoints) {
    const named: Target = { kind: 'inference', endpoint, model: null }
    const inPath = endpoint.path.includes('{model}')
    if (!inPath) {
      exact.set(endpoint.path, named)
      exact.set(endpoint.path.replace(/^\/v1/, ''), named)
    }
    for (const alias of inPath ? [endpoint.path, ...endpoint.aliases] : endpoint.aliases) {
      if (!alias.includes('{model}')) {
        exact.set(alias, named)
        continue
      }
      const [before = '', after = ''] = alias.split('{model}')
      patterns.push({ before, after, target: (model) => ({ kind: 'inference', endpoint, model }) })
    }
  }
  // Longest ending first: `…/chat/completions` also ends in `/completions`.
  patterns.sort((a, b) => b.after.length - a.after.length)
  patterns.push({ before: '/v1/models/', after: '', target: modelOf }, { before: '/models/', after: '', target: modelOf })

  const shapes = carried.flatMap(shapesOf)

  const find = (path: string, method: string | undefined): Target | null => {
    const fixed = exact.get(path)
    if (fixed !== undefined) return fixed
    for (const { before, after, target } of patterns) {
      const fits = path.startsWith(before) && path.endsWith(after) && path.length > before.length + after.length
      if (fits) return target(decoded(path.slice(before.length, path.length - after.length)))
    }
    let other: Target | null = null
    for (const { expression, endpoint } of shapes) {
      const found = expression.exec(path)
      if (found === null) continue
      const params = Object.fromEntries(Object.entries(found.groups ?? {}).map(([name, value]) => [name, decoded(value ?? '')]))
      const target: Target = { kind: 'carried', endpoint, params }
      // One path may mean another endpoint to another method: `GET /v1/files` lists, `POST` creates.
      if (method === undefined || endpoint.methods.includes(method)) return target
      other ??= target
    }
    return other
  }
  return (path, method) => find(path, method) ?? (path.endsWith('/') && path.length > 1 ? find(path.slice(0, -1), method) : null)
}

/** The path of a carried endpoint as expressions, with `/v1` and without. */
function shapesOf(endpoint: CarriedEndpoint): { expression: RegExp; endpoint: CarriedEndpoint }[] {
  const paths = endpoint.path.startsWith('/v1/') ? [endpoint.path, endpoint.path.slice(3)] : [endpoint.path]
  return paths.map((path) => {
    const source = path
      .replace(/[.*+?^$()|[\]\\]/g, '\\$&')
      .replace(/\{rest\}$/, '(?<rest>.*)')
      .replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')
    return { expression: new RegExp(`^${source}$`), endpoint }
  })
}

function modelOf(model: string): Target {
  return { kind: 'model', model }
}

/** Percent-decoded when it can be, else as sent. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
