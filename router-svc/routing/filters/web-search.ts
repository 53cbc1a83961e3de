import type { Call } from '../../call.ts'
import type { Filter } from './filter.ts'

/**
 * A request that wants the web searched goes past models that are known not to (`model_info.supports_web_search`, or the catalogue). Where
 * that would leave nobody, all stay and the provider says what it thinks.
 */
export const webSearch: Filter = {
  name: 'web search',
  applies: (call) => call.request['web_search_options'] != null || hasSearchTool(call),
  keep(routes) {
    const able = routes.filter(({ deployment, supports }) => {
      const said = deployment.info['supports_web_search']
      return typeof said === 'boolean' ? said : supports === null || supports.has('web_search')
    })
    return able.length > 0 ? able : routes
  },
}

function hasSearchTool(call: Call): boolean {
  const { tools } = call.request
  return (
    Array.isArray(tools) &&
    tools.some((tool: { type?: unknown } | null) => typeof tool?.type === 'string' && tool.type.startsWith('web_search'))
  )
}
