import type { Transaction } from '../../shared/db/db.ts'

/** What a user belongs to, by id. */
export interface Memberships {
  teams: ReadonlyMap<string, 'admin' | 'user'>
  /** `org_admin`, `internal_user` or `internal_user_viewer`. */
  organizations: ReadonlyMap<string, string>
  /** Organization of each of the user's teams that has one. */
  teamOrganizations: ReadonlyMap<string, string>
  /** Routes a plain member may call for each of the user's teams that says so. */
  permissions: ReadonlyMap<string, readonly string[]>
}

export const NO_MEMBERSHIPS: Memberships = Object.freeze({
  teams: new Map(),
  organizations: new Map(),
  teamOrganizations: new Map(),
  permissions: new Map(),
})

/** Teams and organizations of a user; nobody (null) belongs nowhere. */
export async function membershipsOf(db: Transaction, userId: string | null): Promise<Memberships> {
  if (userId === null) return NO_MEMBERSHIPS
  const [teams, organizations] = await Promise.all([
    db.query<{ team_id: string; role: string; organization_id: string | null; team_member_permissions: string[] | null }>(
      `select m.team_id, m.role, t.organization_id, t.team_member_permissions
       from team_members m join teams t on t.team_id = m.team_id where m.user_id = $1`,
      [userId],
      'memberships_teams',
    ),
    db.query<{ organization_id: string; user_role: string }>(
      'select organization_id, user_role from organization_members where user_id = $1',
      [userId],
      'memberships_organizations',
    ),
  ])
  return {
    teams: new Map(teams.map((row) => [row.team_id, row.role === 'admin' ? 'admin' : 'user'])),
    organizations: new Map(organizations.map((row) => [row.organization_id, row.user_role])),
    teamOrganizations: new Map(
      teams.flatMap((row) => (row.organization_id === null ? [] : [[row.team_id, row.organization_id]])),
    ),
    permissions: new Map(
      teams.flatMap((row) => (row.team_member_permissions === null ? [] : [[row.team_id, row.team_member_permissions]])),
    ),
  }
}
