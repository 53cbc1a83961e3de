import { contextWindow } from './context-window.ts'
import type { Filter } from './filter.ts'
import { preferences } from './preferences.ts'
import { rateRoom } from './rate-room.ts'
import { region } from './region.ts'
import { supportedParameters } from './supported-parameters.ts'
import { tags } from './tags.ts'
import { webSearch } from './web-search.ts'

/**
 * What is checked before a deployment is chosen, in this order (surface reference §5.2). A team's deployments need no filter: a name never
 * resolves to those of another team.
 */
export const filters: readonly Filter[] = [region, webSearch, preferences, contextWindow, supportedParameters, rateRoom, tags]
