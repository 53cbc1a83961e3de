import type { Transaction } from '../../shared/db/db.ts'

/** A row of `invitations`. Its id is a secret until it was accepted or has expired: whoever has it may set the user's password. */
export interface InvitationRow {
  id: string
  user_id: string
  is_accepted: boolean
  accepted_at: Date | null
  expires_at: Date
  created_at: Date
  created_by: string | null
  updated_at: Date
  updated_by: string | null
}

export async function insertInvitation(
  tx: Transaction,
  row: { id: string; userId: string; at: Date; expiresAt: Date; by: string },
): Promise<InvitationRow> {
  const rows = await tx.query<InvitationRow>(
    `insert into invitations (id, user_id, expires_at, created_at, created_by, updated_at, updated_by)
     values ($1, $2, $3, $4, $5, $4, $5) returning *`,
    [row.id, row.userId, row.expiresAt, row.at, row.by],
  )
  return rows[0] as InvitationRow
}

export async function findInvitation(tx: Transaction, id: string): Promise<InvitationRow | undefined> {
  const rows = await tx.query<InvitationRow>('select * from invitations where id = $1', [id])
  return rows[0]
}

/** Marks an invitation accepted, once: undefined when it is not there, was accepted before, or is over at `at`. */
export async function acceptInvitation(tx: Transaction, id: string, at: Date, by: string): Promise<InvitationRow | undefined> {
  const rows = await tx.query<InvitationRow>(
    `update invitations set is_accepted = true, accepted_at = $2, updated_at = $2, updated_by = $3
     where id = $1 and not is_accepted and expires_at > $2 returning *`,
    [id, at, by],
  )
  return rows[0]
}

export async function deleteInvitation(tx: Transaction, id: string): Promise<InvitationRow | undefined> {
  const rows = await tx.query<InvitationRow>('delete from invitations where id = $1 returning *', [id])
  return rows[0]
}
