import type { Transaction } from '../../shared/db/db.ts'

/** A row of `stored_settings`. */
export interface StoredSettingRow {
  section: string
  name: string
  value: unknown
}

/** A row of `stored_fallbacks`. */
export interface StoredFallbackRow {
  kind: string
  model_group: string
  targets: unknown
}

export function listStoredSettings(tx: Transaction): Promise<StoredSettingRow[]> {
  return tx.query<StoredSettingRow>('select section, name, value from stored_settings order by section, name')
}

export async function putStoredSetting(tx: Transaction, row: StoredSettingRow, by: string): Promise<void> {
  await tx.query(
    `insert into stored_settings (section, name, value, updated_by) values ($1, $2, $3::jsonb, $4)
     on conflict (section, name) do update set value = excluded.value, updated_at = now(), updated_by = excluded.updated_by`,
    [row.section, row.name, JSON.stringify(row.value), by],
  )
}

/** Whether there was one. */
export async function deleteStoredSetting(tx: Transaction, section: string, name: string): Promise<boolean> {
  const rows = await tx.query('delete from stored_settings where section = $1 and name = $2 returning name', [section, name])
  return rows.length > 0
}

export function listStoredFallbacks(tx: Transaction): Promise<StoredFallbackRow[]> {
  return tx.query<StoredFallbackRow>('select kind, model_group, targets from stored_fallbacks order by kind, model_group')
}

/** What stood there before; undefined = nothing. */
export async function putStoredFallback(tx: Transaction, row: StoredFallbackRow, by: string): Promise<unknown> {
  const before = await tx.query<{ targets: unknown }>(
    'select targets from stored_fallbacks where kind = $1 and model_group = $2 for update',
    [row.kind, row.model_group],
  )
  await tx.query(
    `insert into stored_fallbacks (kind, model_group, targets, updated_by) values ($1, $2, $3::jsonb, $4)
     on conflict (kind, model_group) do update
       set targets = excluded.targets, updated_at = now(), updated_by = excluded.updated_by`,
    [row.kind, row.model_group, JSON.stringify(row.targets), by],
  )
  return before[0]?.targets
}

/** What stood there; undefined = nothing. */
export async function deleteStoredFallback(tx: Transaction, kind: string, group: string): Promise<unknown> {
  const rows = await tx.query<{ targets: unknown }>(
    'delete from stored_fallbacks where kind = $1 and model_group = $2 returning targets',
    [kind, group],
  )
  return rows[0]?.targets
}

export async function listBlockedDeployments(tx: Transaction): Promise<string[]> {
  const rows = await tx.query<{ deployment_id: string }>('select deployment_id from blocked_deployments order by deployment_id')
  return rows.map(({ deployment_id }) => deployment_id)
}

/** The ids that were not blocked before. */
export async function blockDeployments(tx: Transaction, ids: readonly string[], by: string): Promise<string[]> {
  const rows = await tx.query<{ deployment_id: string }>(
    `insert into blocked_deployments (deployment_id, blocked_by) select unnest($1::text[]), $2
     on conflict do nothing returning deployment_id`,
    [ids, by],
  )
  return rows.map(({ deployment_id }) => deployment_id)
}

/** The ids that were blocked before. */
export async function unblockDeployments(tx: Transaction, ids: readonly string[]): Promise<string[]> {
  const rows = await tx.query<{ deployment_id: string }>(
    'delete from blocked_deployments where deployment_id = any($1) returning deployment_id',
    [ids],
  )
  return rows.map(({ deployment_id }) => deployment_id)
}
