import type { Database } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import { alertsOf, alertText, type Spenders, webhookBody } from '../ledger/alerts.ts'
import { findAlarming, findUnsentAlerts, insertAlerts, markAlert } from '../sql/alerts.ts'
import type { Job } from './schedule.ts'

const INTERVAL = 2_000
/** Scopes in one question to the database, and posts in one run. */
const BATCH = 1_000
const POSTS = 20

/** Looks whether who spent has reached a budget, and says so in the log, once per window and threshold. */
export function findBudgetAlerts(deps: { db: Database; spenders: Spenders; log: Log }): Job {
  const { db, spenders, log } = deps
  return {
    name: 'find-budget-alerts',
    every: INTERVAL,
    // Each process knows who spent in what it booked.
    everywhere: true,
    async run() {
      for (;;) {
        const scopes = spenders.take(BATCH)
        if (scopes.length === 0) return
        const alerts = (await findAlarming(db, scopes)).flatMap(alertsOf)
        if (alerts.length === 0) continue
        const added = new Set((await insertAlerts(db, alerts)).map(({ scope, threshold }) => `${threshold} ${scope}`))
        for (const alert of alerts) {
          if (!added.has(`${alert.threshold} ${alert.scope}`)) continue
          const { scope, threshold, spent, limit, resetAt } = alert
          log.warn({ scope, threshold, spent, limit, resetAt }, alertText(alert))
        }
      }
    },
  }
}

/** Posts alerts to the operator's webhook; one that is not taken is tried again. `url` null = there is none. */
export function sendBudgetAlerts(deps: {
  db: Database
  url: () => string | null
  post: (url: string, body: unknown) => Promise<number>
  log: Log
}): Job {
  const { db, url, post, log } = deps
  return {
    name: 'send-budget-alerts',
    every: INTERVAL,
    async run() {
      const address = url()
      if (address === null) return
      for (const alert of await findUnsentAlerts(db, POSTS)) {
        // The address is a secret of the operator (it may hold a token), so neither it nor what the post threw is logged.
        const status = await post(address, webhookBody(alert)).catch(() => 0)
        const sent = status >= 200 && status < 300
        if (!sent) log.warn({ scope: alert.scope, status }, 'the webhook did not take a budget alert')
        await markAlert(db, alert, sent)
        if (!sent) return
      }
    },
  }
}
