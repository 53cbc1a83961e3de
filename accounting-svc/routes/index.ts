import type { Catalog } from '../../shared/catalog/catalog.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Budgets } from '../identity/budgets.ts'
import type { Keys } from '../identity/keys.ts'
import type { Users } from '../identity/users.ts'
import type { Runtime } from '../models/runtime.ts'
import { budgetRoutes } from './budgets.ts'
import { healthRoutes } from './health.ts'
import { keyRoutes } from './keys.ts'
import { modelRoutes } from './models.ts'
import { openapiRoutes } from './openapi.ts'
import type { RequestRouter, Route } from './route.ts'
import { spendRoutes } from './spend.ts'
import { userRoutes } from './users.ts'

/** Every management route. Adding one is adding it to a list of its topic, or a topic here. */
export function allRoutes(deps: {
  keys: Keys
  budgets: Budgets
  users: Users
  db: Database
  runtime: Runtime
  catalog: Catalog
  ready: () => boolean
  database: () => Promise<boolean>
  /** The finished router, which describes itself. */
  router: () => RequestRouter
}): Route[] {
  return [
    ...keyRoutes(deps.keys),
    ...budgetRoutes(deps.budgets),
    ...userRoutes(deps.users),
    ...spendRoutes(deps.db),
    ...modelRoutes(deps.runtime, deps.catalog),
    ...healthRoutes(deps),
    ...openapiRoutes({ document: () => deps.router().document(), list: () => deps.router().list() }),
  ]
}
