import { GatewayError } from '../../../shared/errors.ts'
import type { Call } from '../../call.ts'
import { isInternal } from '../../internal-call.ts'
import type { Route } from '../../runtime.ts'
import { COPY_TAG } from '../mirror.ts'
import type { Filter } from './filter.ts'

/** Deployments with it serve calls whose own tags fit nobody, and, where there are any, calls without tags. */
const DEFAULT_TAG = 'default'

/**
 * Tag routing (`enable_tag_filtering`, surface reference §5.8): deployments with one of the call's tags, or with all of them where
 * `tag_filtering_match_any` is off; or with a `tag_regex` that fits a header of the call. Without tags everybody's deployments.
 */
export const tags: Filter = {
  name: 'tags',
  applies: (call) => call.routing.tagFiltering,
  keep(routes, call) {
    const asked = isInternal(call) ? call.options.tags.filter((tag) => tag !== COPY_TAG) : call.options.tags
    const lines = routes.some(({ tagPatterns }) => tagPatterns !== null) ? headerLines(call) : NO_LINES
    const fitting = routes.filter((route) => fitsTags(route, asked, call.routing.tagMatchAny) || fitsPattern(route, lines))
    if (fitting.length > 0) return fitting
    const defaults = routes.filter(({ deployment }) => deployment.tags.includes(DEFAULT_TAG))
    // Where a call of our own goes (a copy, an embedding for the cache) the operator said: the caller's tags only choose within it.
    return defaults.length > 0 || (asked.length > 0 && !isInternal(call)) ? defaults : routes
  },
  refusal(call) {
    return new GatewayError(
      'no_deployment',
      `Not allowed to access model due to tags configuration. Passed model=${call.modelGroup} and tags=${call.options.tags.join(',')}`,
      { status: 401, type: 'auth_error', param: 'tags' },
    )
  },
}

const NO_LINES: readonly string[] = []

function fitsTags({ deployment }: Route, asked: readonly string[], any: boolean): boolean {
  if (asked.length === 0) return false
  const own = deployment.tags
  return any ? asked.some((tag) => own.includes(tag)) : asked.every((tag) => own.includes(tag))
}

function fitsPattern({ tagPatterns }: Route, lines: readonly string[]): boolean {
  return tagPatterns?.some((pattern) => lines.some((line) => pattern.test(line))) === true
}

/** The headers of a call as patterns are written for them: `User-Agent: claude-code/1.0`. */
function headerLines(call: Call): string[] {
  return Object.entries(call.message.headers).map(
    ([name, value]) => `${name.replace(/(^|-)[a-z]/g, (letters) => letters.toUpperCase())}: ${value}`,
  )
}
