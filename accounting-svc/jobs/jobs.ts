import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import type { Spenders } from '../ledger/alerts.ts'
import type { Projection } from '../ledger/projection.ts'
import { findBudgetAlerts, sendBudgetAlerts } from './budget-alerts.ts'
import { condenseDays } from './condense-days.ts'
import { keepPartitions } from './partitions.ts'
import { rebuildCounters } from './rebuild-counters.ts'
import { resetBudgets } from './reset-budgets.ts'
import { createSchedule, type Job, type Schedule } from './schedule.ts'
import { sweepLeases } from './sweep-leases.ts'

export interface JobsDeps {
  db: Database
  bus: Bus
  counters: Counters
  projection: Projection
  spenders: Spenders
  env: Record<string, string | undefined>
  /** Posts JSON; the status of the answer. */
  post: (url: string, body: unknown) => Promise<number>
  config: () => Config
  clock: Clock
  log: Log
  /** Work that other parts bring. */
  others?: readonly Job[]
}

/** Starts everything accounting does by itself. */
export function startJobs(deps: JobsDeps): Schedule {
  const { db, bus, config, clock, log, env, post } = deps
  const webhook = (): string | null =>
    config().general_settings.alerting?.includes('webhook') === true ? env['WEBHOOK_URL'] || null : null
  return createSchedule({
    db,
    clock,
    log,
    id: bus.id,
    jobs: [
      resetBudgets({ ...deps, zone: () => config().litellm_settings.timezone ?? 'UTC' }),
      sweepLeases(deps),
      rebuildCounters(deps),
      findBudgetAlerts(deps),
      sendBudgetAlerts({ db, url: webhook, post, log }),
      keepPartitions({
        db,
        clock,
        log,
        retention: () => config().general_settings.maximum_spend_logs_retention_period ?? null,
      }),
      condenseDays(deps),
      ...(deps.others ?? []),
    ],
  })
}
