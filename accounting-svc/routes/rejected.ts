import type { Database } from '../../shared/db/db.ts'
import { auditEntry } from '../identity/audit.ts'
import { writerOf } from '../identity/writer.ts'
import type { Ledger } from '../ledger/book.ts'
import { replayRejected } from '../ledger/replay.ts'
import { audit } from '../sql/audit.ts'
import { countRejected, findRejected } from '../sql/rejected.ts'
import { type Route, route, z } from './route.ts'

const digest = z.string().regex(/^[0-9a-f]{64}$/, 'expected the id of a parked event')

/** /spend/rejected: usage events that could not be booked, and booking them again. */
export function rejectedRoutes({ db, ledger }: { db: Database; ledger: Ledger }): Route[] {
  return [
    route({
      method: 'GET',
      path: '/spend/rejected',
      tag: 'spend',
      summary: 'Usage events that could not be booked, and why',
      access: 'admin',
      input: z.object({
        after: digest.optional().describe('`next` of the page before'),
        size: z.coerce.number().int().min(1).max(1000).default(100),
      }),
      output: z.object({
        total: z.number(),
        next: z.string().nullable(),
        data: z.array(z.object({ id: z.string(), reason: z.string(), rejected_at: z.iso.datetime(), event: z.string() })),
      }),
      async handle({ input: { after, size } }) {
        const rows = await findRejected(db, null, after ?? '', size)
        return {
          total: await countRejected(db),
          next: rows.length < size ? null : (rows.at(-1)?.digest ?? null),
          data: rows.map(({ digest: id, reason, rejected_at, event }) => ({ id, reason, rejected_at, event })),
        }
      },
    }),
    route({
      method: 'POST',
      path: '/spend/rejected/replay',
      tag: 'spend',
      summary: 'Book parked usage events again; those that still cannot be booked stay',
      access: 'admin',
      input: z.object({ ids: z.array(digest).max(1000).optional().describe('Default all') }),
      output: z.object({ booked: z.number(), rejected: z.number() }),
      async handle(call) {
        const { booked, rejected } = await replayRejected({ db, ledger }, call.input.ids ?? null)
        const { actor, changedBy } = writerOf(call)
        const result = { booked: booked.length, rejected }
        await db.transaction((tx) =>
          audit(tx, auditEntry(actor, changedBy, 'updated', 'ledger_rejected', call.input.ids?.[0] ?? 'all', null, result)),
        )
        return result
      },
    }),
  ]
}
