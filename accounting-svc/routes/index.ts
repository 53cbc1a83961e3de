import type { Bus } from '../../shared/bus/bus.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Sealer } from '../../shared/config/secrets.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import { createAccessGroups } from '../identity/access-groups.ts'
import type { Budgets } from '../identity/budgets.ts'
import { createCustomers } from '../identity/customers.ts'
import { createInvitations } from '../identity/invitations.ts'
import { createJwtMappings } from '../identity/jwt-mappings.ts'
import type { Keys } from '../identity/keys.ts'
import { createOrganizations } from '../identity/organizations.ts'
import { createProjects } from '../identity/projects.ts'
import { createTags } from '../identity/tags.ts'
import { createTeamMembers } from '../identity/team-members.ts'
import { createTeams } from '../identity/teams.ts'
import type { Users } from '../identity/users.ts'
import type { Ledger } from '../ledger/book.ts'
import type { Projection } from '../ledger/projection.ts'
import type { Configuration } from '../models/configuration.ts'
import { createFallbacks } from '../models/fallbacks.ts'
import { createModelBlocks } from '../models/model-blocks.ts'
import type { ModelHealth } from '../models/model-health.ts'
import type { PriceBook } from '../models/price-book.ts'
import { createPriceOverrides } from '../models/prices.ts'
import type { RouterStates } from '../models/router-states.ts'
import { limitsInForce, type Runtime } from '../models/runtime.ts'
import { createProver } from '../prove/prove.ts'
import { accessGroupRoutes, modelAccessGroupRoutes } from './access-groups.ts'
import { auditRoutes } from './audit.ts'
import { budgetRoutes } from './budgets.ts'
import { cacheRoutes } from './cache.ts'
import { customerRoutes } from './customers.ts'
import { fallbackRoutes } from './fallbacks.ts'
import { healthRoutes } from './health.ts'
import { invitationRoutes } from './invitations.ts'
import { jwtMappingRoutes } from './jwt-mappings.ts'
import { keyRoutes } from './keys.ts'
import { modelBlockRoutes } from './model-blocks.ts'
import { modelGroupRoutes } from './model-groups.ts'
import { modelHealthRoutes } from './model-health.ts'
import { modelRoutes } from './models.ts'
import { openapiRoutes } from './openapi.ts'
import { organizationRoutes } from './organizations.ts'
import { passThroughRoutes } from './pass-through.ts'
import { priceRoutes } from './prices.ts'
import { projectRoutes } from './projects.ts'
import { proveRoutes } from './prove.ts'
import { rejectedRoutes } from './rejected.ts'
import { reportRoutes } from './reports.ts'
import { repriceRoutes } from './reprice.ts'
import type { RequestRouter, Route } from './route.ts'
import { routerRoutes } from './router.ts'
import { tagRoutes } from './tags.ts'
import { teamMemberRoutes, teamRoutes } from './teams.ts'
import { userRoutes } from './users.ts'

/** Every management route. Adding one is adding it to a list of its topic, or a topic here. */
export function allRoutes(deps: {
  keys: Keys
  budgets: Budgets
  users: Users
  db: Database
  config: () => Config
  bus: Bus
  clock: Clock
  sealer: Sealer
  configuration: Configuration
  routerStates: RouterStates
  health: ModelHealth
  env: Record<string, string | undefined>
  runtime: Runtime
  book: PriceBook
  catalog: Catalog
  counters: Counters
  ledger: Ledger
  projection: Pick<Projection, 'book'>
  log: Log
  ready: () => boolean
  database: () => Promise<boolean>
  /** The finished router, which describes itself. */
  router: () => RequestRouter
}): Route[] {
  return [
    ...keyRoutes(deps.keys),
    ...jwtMappingRoutes(createJwtMappings(deps)),
    ...budgetRoutes(deps.budgets),
    ...teamRoutes(createTeams(deps)),
    ...teamMemberRoutes(createTeamMembers(deps)),
    ...organizationRoutes(createOrganizations(deps)),
    ...projectRoutes(createProjects(deps)),
    ...userRoutes(deps.users),
    ...customerRoutes(createCustomers({ ...deps, inForce: () => limitsInForce(deps, 'customerLimits') })),
    ...tagRoutes(createTags({ ...deps, deployment: deps.runtime.deployment, inForce: () => limitsInForce(deps, 'tagLimits') })),
    ...accessGroupRoutes(createAccessGroups(deps)),
    ...modelAccessGroupRoutes(deps.runtime),
    ...invitationRoutes(createInvitations(deps)),
    ...auditRoutes(deps.db),
    ...reportRoutes(deps),
    ...modelRoutes(deps.runtime, deps.catalog),
    ...modelGroupRoutes(deps),
    ...modelBlockRoutes(createModelBlocks(deps)),
    ...passThroughRoutes(deps),
    ...routerRoutes(deps),
    ...fallbackRoutes(createFallbacks(deps)),
    ...priceRoutes({ ...deps, overrides: createPriceOverrides(deps) }),
    ...repriceRoutes({ ...deps, onSpent: (spent) => deps.projection.book([], spent) }),
    ...rejectedRoutes(deps),
    ...proveRoutes(createProver({ ...deps, teams: createTeams(deps) })),
    ...cacheRoutes({ bus: deps.bus, cacheSettings: () => deps.runtime.settings.cache }),
    ...healthRoutes(deps),
    ...modelHealthRoutes(deps),
    ...openapiRoutes({ document: () => deps.router().document(), list: () => deps.router().list() }),
  ]
}
