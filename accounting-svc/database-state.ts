import type { Bus, Service } from '../shared/bus/bus.ts'
import type { Clock } from '../shared/clock.ts'
import type { Database } from '../shared/db/db.ts'

/** Milliseconds between looks at the database. A look without an answer until the next one counts as no. */
const LOOK_INTERVAL = 2_000

/** Says in the beats of this process whether the database answers (`db`), which edges show on their readiness page. */
export function tellDatabaseState({ bus, db, clock }: { bus: Bus; db: Pick<Database, 'ping'>; clock: Clock }): Service {
  let said = ''
  let looking = false
  const say = (state: 'connected' | 'disconnected'): void => {
    if (said !== state) bus.beat({ db: state })
    said = state
  }
  const look = (): void => {
    if (looking) {
      say('disconnected')
      return
    }
    looking = true
    db.ping()
      .then(
        () => say('connected'),
        () => say('disconnected'),
      )
      .finally(() => {
        looking = false
      })
  }
  const timer = clock.every(LOOK_INTERVAL, look)
  look()
  return { stop: async () => timer.cancel() }
}
