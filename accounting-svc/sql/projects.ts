import type { Transaction } from '../../shared/db/db.ts'
import { assignments, columns, placeholders } from './columns.ts'

/** A row of `projects`; its limits are those of its budget row. */
export interface ProjectRow {
  project_id: string
  project_alias: string | null
  description: string | null
  team_id: string
  budget_id: string | null
  metadata: Record<string, unknown>
  models: string[]
  blocked: boolean
  object_permission: unknown
  created_at: Date
  created_by: string | null
  updated_at: Date
  updated_by: string | null
}

const JSON_COLUMNS: ReadonlySet<string> = new Set<keyof ProjectRow>(['metadata', 'object_permission'])

/** A project with the organization of its team, and what was spent in the present window. */
export interface ProjectView extends ProjectRow {
  organization_id: string | null
  spend_nano: number
  reset_at: Date | null
}

const VIEW = `select p.*, t.organization_id, coalesce(s.spent_nano, 0) as spend_nano, s.reset_at
  from projects p left join teams t on t.team_id = p.team_id left join spend s on s.scope = scope_of('project', p.project_id)`

/** Adds a project. Fails on an id that exists (see sql-state.ts). */
export async function insertProject(
  tx: Transaction,
  row: Partial<ProjectRow> & Pick<ProjectRow, 'project_id' | 'team_id'>,
): Promise<void> {
  const { names, values } = columns(row, JSON_COLUMNS)
  await tx.query(`insert into projects (${names.join(', ')}) values (${placeholders(names.length)})`, values)
}

export async function updateProject(tx: Transaction, id: string, changes: Partial<ProjectRow>): Promise<void> {
  const { names, values } = columns(changes, JSON_COLUMNS)
  await tx.query(`update projects set ${assignments(names, 2)} where project_id = $1`, [id, ...values])
}

/** The project, locked until the transaction ends where `lock`. */
export async function findProject(db: Transaction, id: string, lock = false): Promise<ProjectView | undefined> {
  if (lock) await db.query('select 1 from projects where project_id = $1 for update', [id])
  const rows = await db.query<ProjectView>(`${VIEW} where p.project_id = $1`, [id])
  return rows[0]
}

/** Projects in the order they were made: all of them, or those of these teams and of these organizations' teams. */
export function listProjects(
  db: Transaction,
  visible: { teamIds: readonly string[]; organizationIds: readonly string[] } | null,
): Promise<ProjectView[]> {
  return db.query<ProjectView>(
    `${VIEW} where $1::text[] is null or p.team_id = any($1) or t.organization_id = any($2) order by p.created_at, p.project_id`,
    [visible?.teamIds ?? null, visible?.organizationIds ?? null],
  )
}

export async function deleteProjects(tx: Transaction, ids: readonly string[]): Promise<void> {
  await tx.query('delete from projects where project_id = any($1)', [ids])
}

/** Hashes of the keys of these projects. */
export async function keysOfProjects(tx: Transaction, ids: readonly string[]): Promise<string[]> {
  const rows = await tx.query<{ token: string }>('select token from keys where project_id = any($1)', [ids])
  return rows.map((row) => row.token)
}
