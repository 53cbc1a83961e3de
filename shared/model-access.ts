import type { Identity } from '../proto/identity.ts'

/** Entries that stand for every model. */
const EVERYTHING = new Set(['*', 'all-proxy-models'])

/**
 * Whether `identity` may use `model` (surface reference §2.4): no list at all, an entry for everything, the name itself, one of the model's
 * access `groups`, or an entry with `*` that fits the name or `provider/name`. `all-team-models` is replaced by accounting, which knows the
 * team, before an identity leaves it; met here it allows nothing.
 */
export function mayUse(
  identity: Pick<Identity, 'models'>,
  model: string,
  groups: readonly string[] = [],
  provider?: string,
): boolean {
  const { models } = identity
  if (models.length === 0) return true
  const qualified = provider === undefined ? null : `${provider}/${model}`
  return models.some(
    (entry) =>
      entry === model ||
      EVERYTHING.has(entry) ||
      groups.includes(entry) ||
      (entry.includes('*') && (fits(entry, model) || (qualified !== null && fits(entry, qualified)))),
  )
}

/** Whether `pattern`, in which `*` stands for any text, fits all of `text`. Takes the leftmost fit of each part, so it never backtracks. */
export function fits(pattern: string, text: string): boolean {
  const parts = pattern.split('*')
  const first = parts[0] as string
  const last = parts[parts.length - 1] as string
  if (parts.length === 1) return pattern === text
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false
  let at = first.length
  const end = text.length - last.length
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at)
    if (found < 0 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}
