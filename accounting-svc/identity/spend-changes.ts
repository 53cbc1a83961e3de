import type { Counters, Spent } from '../../shared/counters/counters.ts'
import type { Log } from '../../shared/log.ts'
import { nanoField } from '../dollars.ts'

/** The field `spend` of a management body in nano-dollars; null where it is not said. Throws GatewayError `bad_request`. */
export function spendField(fields: Record<string, unknown>): number | null {
  return fields['spend'] === undefined ? null : nanoField(fields['spend'], 'spend')
}

/** Tells the counters, after the commit, what scopes have spent now. Counters that are away learn it with the next booking. */
export async function tellSpent(deps: { counters: Pick<Counters, 'book'>; log: Log }, spents: readonly Spent[]): Promise<void> {
  if (spents.length === 0) return
  await deps.counters.book([], spents).catch((error: unknown) => {
    deps.log.warn({ err: error }, 'the counters could not be told what was spent')
  })
}
