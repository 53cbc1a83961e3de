/**
 * Names and values of the columns a write sets; what is undefined is left out. Columns in `json` are written as JSON: the driver would
 * write a list as a PostgreSQL array and a text as it is.
 */
export function columns<Row extends object>(
  row: Partial<Row>,
  json: ReadonlySet<string>,
): { names: string[]; values: unknown[] } {
  const entries = Object.entries(row).filter(([, value]) => value !== undefined)
  return {
    names: entries.map(([name]) => name),
    values: entries.map(([name, value]) => (json.has(name) && value !== null ? JSON.stringify(value) : value)),
  }
}

/** `$from, $from+1, …` for as many values. */
export function placeholders(count: number, from = 1): string {
  return Array.from({ length: count }, (_, index) => `$${index + from}`).join(', ')
}

/** `a = $from, b = $from+1, …` */
export function assignments(names: readonly string[], from: number): string {
  return names.map((name, index) => `${name} = $${index + from}`).join(', ')
}
