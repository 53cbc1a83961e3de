import { activityRoutes } from './activity.ts'
import { globalActivityRoutes } from './global-activity.ts'
import { globalReportRoutes } from './global-report.ts'
import { reconcileRoutes } from './reconcile.ts'
import type { Route } from './route.ts'
import { type SpendDeps, spendRoutes } from './spend.ts'
import { spendLogRoutes } from './spend-logs.ts'

/** Everything finance reads. */
export function reportRoutes(deps: SpendDeps): Route[] {
  return [
    ...spendLogRoutes(deps.db),
    ...spendRoutes(deps),
    ...globalReportRoutes(deps.db),
    ...globalActivityRoutes(deps.db),
    ...activityRoutes(deps.db),
    ...reconcileRoutes(deps.db),
  ]
}
