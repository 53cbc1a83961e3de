/**
 * The SQLSTATE of what a database call threw (https://www.postgresql.org/docs/current/errcodes-appendix.html), or null when the
 * statement never got an answer.
 */
export function sqlState(thrown: unknown): string | null {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return null
  const { code } = thrown
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : null
}

/** Whether the server refused the values themselves, so that the same statement with them can never succeed. */
export function refusedValue(thrown: unknown): boolean {
  const state = sqlState(thrown)
  // 22: a value is out of range or not representable; 23: a constraint says no; 54: larger than the server takes.
  return state !== null && (state.startsWith('22') || state.startsWith('23') || state.startsWith('54'))
}

/** Whether a unique constraint said no. */
export function alreadyExists(thrown: unknown): boolean {
  return sqlState(thrown) === '23505'
}
