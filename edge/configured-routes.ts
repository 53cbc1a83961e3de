import { CONFIGURED, type ConfiguredEndpoint } from '../proto/carried.ts'
import type { Target } from './routes.ts'

/** The target of a path that an operator configured; null = nobody did. */
export type ConfiguredRoutes = (path: string) => Target | null

/** Asked last, so that other paths pay nothing for it: an endpoint's own path, or the longest one above that serves what lies below it. */
export function configuredRoutes(endpoints: readonly ConfiguredEndpoint[]): ConfiguredRoutes {
  const byPath = new Map(endpoints.map((one) => [one.path, one]))
  const roots = endpoints.filter(({ subpaths }) => subpaths).sort((a, b) => b.path.length - a.path.length)
  return (path) => {
    const found =
      byPath.get(path) ?? byPath.get(path.replace(/\/$/, '')) ?? roots.find((root) => path.startsWith(`${root.path}/`))
    return found === undefined ? null : targetOf(found, path)
  }
}

function targetOf(one: ConfiguredEndpoint, path: string): Target {
  const methods = one.methods ?? CONFIGURED.methods
  const key = one.keyHeader === null && one.keyIn === null ? {} : { key: { in: one.keyIn, header: one.keyHeader } }
  return {
    kind: 'carried',
    endpoint: { ...CONFIGURED, methods },
    params: { endpoint: one.id, rest: path.slice(one.path.length) },
    access: { isOpen: !one.auth, ...key },
  }
}
