import type { Deployment } from '../../proto/deployment.ts'

/**
 * What model groups with a wildcard stand for in lists: every model of their providers the wildcard takes, under the name a client would write.
 * Patterns without a wildcard upstream stand for any name, and for none in particular. Pure.
 */
export function expansionsOf(
  deployments: readonly Deployment[],
  modelsOf: (deployment: Deployment) => readonly string[],
): Record<string, string[]> {
  const expansions: Record<string, string[]> = {}
  for (const deployment of deployments) {
    const name = deployment.team?.publicName ?? deployment.modelGroup
    if (!name.includes('*') || deployment.hidden === true) continue
    const names = modelsOf(deployment).flatMap((model) => {
      const filled = filling(deployment.model, model)
      return filled === null ? [] : [name.replace('*', filled)]
    })
    if (names.length > 0) expansions[name] = [...new Set([...(expansions[name] ?? []), ...names])]
  }
  return expansions
}

/** What `*` in the upstream pattern stands for in `model`; null when the model does not fit, or nothing can be told. */
function filling(pattern: string, model: string): string | null {
  const [before = '', after] = pattern.split('*')
  if (after === undefined) return null
  const fits = model.startsWith(before) && model.endsWith(after) && model.length > before.length + after.length
  return fits ? model.slice(before.length, model.length - after.length) : null
}
