/** What a client sends to make or change something, already checked against its schema. */
type Fields = Readonly<Record<string, unknown>>

/** The columns stored as they are sent, of those in `defaults`; null puts the default there back. Pure. */
export function plainColumns(fields: Fields, defaults: Fields): Record<string, unknown> {
  const columns: Record<string, unknown> = {}
  for (const [name, none] of Object.entries(defaults)) if (fields[name] !== undefined) columns[name] = fields[name] ?? none
  return columns
}

/**
 * `metadata` after a change: `sent` in place of `present` unless it is undefined, with the fields called `names`, which are kept inside it, put
 * in; null takes one of them away. Null = the change says nothing of it. Pure.
 */
export function changedMetadata(
  sent: unknown,
  fields: Fields,
  names: readonly string[],
  present: Readonly<Record<string, unknown>>,
): Record<string, unknown> | null {
  const inside = names.filter((name) => fields[name] !== undefined)
  if (sent === undefined && inside.length === 0) return null
  const metadata = { ...(sent === undefined ? present : (sent as Record<string, unknown> | null)) }
  for (const name of inside) {
    if (fields[name] === null) delete metadata[name]
    else metadata[name] = fields[name]
  }
  return metadata
}
