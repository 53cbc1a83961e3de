import type { Transaction } from '../../shared/db/db.ts'
import { assignments, columns } from './columns.ts'

/** A row of `team_members`. */
export interface MemberRow {
  team_id: string
  user_id: string
  role: string
  /** Null = the team's default for members. */
  budget_id: string | null
  metadata: Record<string, unknown>
  allowed_models: string[]
  created_at: Date
}

/** A membership with what was spent in the present window. */
export interface MemberView extends MemberRow {
  user_email: string | null
  spend_nano: number
  reset_at: Date | null
}

const JSON_COLUMNS: ReadonlySet<string> = new Set<keyof MemberRow>(['metadata'])

/** Members of these teams in the order they came. */
export function listMembers(db: Transaction, teamIds: readonly string[]): Promise<MemberView[]> {
  return db.query<MemberView>(
    `select m.team_id, m.user_id, m.role, m.budget_id, m.metadata, m.allowed_models, m.created_at, u.user_email,
       coalesce(s.spent_nano, 0) as spend_nano, s.reset_at
     from team_members m left join users u on u.user_id = m.user_id
     left join spend s on s.scope = scope_of(scope_of('team_member', m.team_id), m.user_id)
     where m.team_id = any($1) order by m.team_id, m.created_at, m.user_id`,
    [teamIds],
  )
}

export async function insertMember(tx: Transaction, member: Omit<MemberRow, 'metadata'>): Promise<void> {
  await tx.query(
    `insert into team_members (team_id, user_id, role, budget_id, allowed_models, created_at) values ($1, $2, $3, $4, $5, $6)`,
    [member.team_id, member.user_id, member.role, member.budget_id, member.allowed_models, member.created_at],
  )
}

export async function updateMember(
  tx: Transaction,
  teamId: string,
  userId: string,
  changes: Partial<Pick<MemberRow, 'role' | 'budget_id' | 'metadata' | 'allowed_models'>>,
): Promise<void> {
  const { names, values } = columns(changes, JSON_COLUMNS)
  if (names.length === 0) return
  await tx.query(`update team_members set ${assignments(names, 3)} where team_id = $1 and user_id = $2`, [
    teamId,
    userId,
    ...values,
  ])
}

export async function deleteMember(tx: Transaction, teamId: string, userId: string): Promise<void> {
  await tx.query('delete from team_members where team_id = $1 and user_id = $2', [teamId, userId])
}

/** Ids of the users who are no member yet. */
export async function usersOutside(tx: Transaction, teamId: string): Promise<string[]> {
  const rows = await tx.query<{ user_id: string }>(
    `select user_id from users u where not exists (select from team_members m where m.team_id = $1 and m.user_id = u.user_id)
     order by user_id`,
    [teamId],
  )
  return rows.map((row) => row.user_id)
}
