import type { Clock } from '../../shared/clock.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import { audit } from '../sql/audit.ts'
import { acceptInvitation, deleteInvitation, findInvitation, type InvitationRow, insertInvitation } from '../sql/invitations.ts'
import { findUser, updateUser } from '../sql/users.ts'
import { actorOf } from './access.ts'
import { auditEntry } from './audit.ts'
import { badRequest } from './budgets.ts'
import { hashPassword } from './password.ts'
import type { Writer } from './writer.ts'

/** Milliseconds an invitation can be accepted. */
const LIFETIME = 7 * 86_400_000

/**
 * An invitation lets whoever has its id set the password of its user, once:
 *
 *   open       made; its id opens it
 *   accepted   the password was set, or an admin says it is done; its id opens nothing any more
 *   over       seven days passed
 */
export interface Invitations {
  create(userId: string, by: Writer): Promise<InvitationRow>
  accept(id: string, by: Writer): Promise<InvitationRow>
  remove(id: string, by: Writer): Promise<InvitationRow>
  info(id: string): Promise<InvitationRow>
  /** Who an open invitation is for. */
  open(id: string): Promise<Invited>
  /** Sets the password of the invited user and closes the invitation. */
  claim(id: string, userId: string, password: string): Promise<Invited>
}

export interface Invited {
  user_id: string
  user_email: string | null
  expires_at: Date
}

/** The rules of invitations. The audit log names the user and never the id, which is a secret that its readers must not learn. */
export function createInvitations(deps: { db: Database; clock: Clock }): Invitations {
  const { db, clock } = deps
  const now = (): Date => new Date(clock.now())

  async function invited(tx: Transaction, row: InvitationRow | undefined): Promise<Invited> {
    const user = row === undefined ? undefined : await findUser(tx, row.user_id)
    if (row === undefined || user === undefined || row.is_accepted || row.expires_at <= now()) throw closed()
    return { user_id: user.user_id, user_email: user.user_email, expires_at: row.expires_at }
  }

  return {
    async create(userId, by) {
      return db.transaction(async (tx) => {
        if ((await findUser(tx, userId)) === undefined) throw badRequest('user_id', `There is no user ${userId}.`)
        const at = now()
        const expiresAt = new Date(at.getTime() + LIFETIME)
        const row = await insertInvitation(tx, { id: rowId(), userId, at, expiresAt, by: actorOf(by.actor) })
        await audit(tx, auditEntry(by.actor, by.changedBy, 'created', 'invitations', userId, null, withoutId(row)))
        return row
      })
    },

    async accept(id, by) {
      return db.transaction(async (tx) => {
        const before = await mustFind(tx, id)
        const row = await acceptInvitation(tx, id, now(), actorOf(by.actor))
        if (row === undefined)
          throw badRequest('invitation_id', 'This invitation was accepted before, or is over. Make a new one.')
        await audit(
          tx,
          auditEntry(by.actor, by.changedBy, 'updated', 'invitations', row.user_id, withoutId(before), withoutId(row)),
        )
        return row
      })
    },

    async remove(id, by) {
      return db.transaction(async (tx) => {
        const row = await deleteInvitation(tx, id)
        if (row === undefined) throw notFound()
        await audit(tx, auditEntry(by.actor, by.changedBy, 'deleted', 'invitations', row.user_id, withoutId(row), null))
        return row
      })
    },

    info: (id) => mustFind(db, id),

    async open(id) {
      return invited(db, await findInvitation(db, id))
    },

    async claim(id, userId, password) {
      // Looked at before the password is hashed: that costs, and anybody may ask.
      const known = await invited(db, await findInvitation(db, id))
      if (known.user_id !== userId) throw closed()
      const hash = await hashPassword(password)
      await db.transaction(async (tx) => {
        const row = await acceptInvitation(tx, id, now(), userId)
        if (row === undefined || row.user_id !== userId) throw closed()
        await updateUser(tx, userId, { password: hash, updated_at: now(), updated_by: userId })
        await audit(tx, {
          changedBy: userId,
          changedByKey: 'invitation',
          action: 'updated',
          table: 'users',
          objectId: userId,
          before: null,
          after: { password: '***' },
        })
      })
      return known
    },
  }
}

function withoutId({ id: _, ...row }: InvitationRow): Omit<InvitationRow, 'id'> {
  return row
}

async function mustFind(tx: Transaction, id: string): Promise<InvitationRow> {
  const row = await findInvitation(tx, id)
  if (row === undefined) throw notFound()
  return row
}

function notFound(): GatewayError {
  return new GatewayError('not_found', 'There is no such invitation.', { param: 'invitation_id' })
}

/** One answer for everything that is no open invitation, so that nobody learns which ids there were. */
function closed(): GatewayError {
  return new GatewayError('not_found', 'This invitation does not exist, was accepted before, or is over.', {
    param: 'invitation_link',
  })
}
