/** Whose list of models is asked about. */
interface Holder {
  readonly models: readonly string[]
}

/** Entries that stand for every model. */
const EVERYTHING = new Set(['*', 'all-proxy-models'])

/**
 * Whether `identity` may use `model` (surface reference §2.4): no list at all, an entry for everything, the name itself, one of the model's
 * access `groups`, or an entry with `*` that fits the name or `provider/name`. `all-team-models` is replaced by accounting, which knows the
 * team, before an identity leaves it; met here it allows nothing.
 */
export function mayUse(identity: Holder, model: string, groups: readonly string[] = [], provider?: string): boolean {
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

/** One way a public name is served, as far as access depends on it: a deployment, or one whose wildcard was filled. */
export interface Served {
  readonly provider: string
  /** Upstream model name. */
  readonly model: string
  readonly accessGroups: readonly string[]
}

/**
 * Whether `identity` may call one of `names` (what the client said, and what aliases made of it), which `served` serve. The provider only
 * counts where the name is the provider's own: `openai/*` is about what OpenAI calls `gpt-4o`, not about any name an operator gave to
 * something that OpenAI serves.
 */
export function mayCall(identity: Holder, names: readonly string[], served: readonly Served[]): boolean {
  if (identity.models.length === 0) return true
  return names.some(
    (name) =>
      mayUse(identity, name) ||
      served.some(({ accessGroups, model, provider }) =>
        mayUse(identity, name, accessGroups, model === name ? provider : undefined),
      ),
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
