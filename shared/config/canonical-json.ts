/**
 * JSON with the members of every object in one order and without absent ones, so that equal values give equal text. Ids of deployments and
 * versions of prices are hashes of it, and the order is theirs: names that are array indices by number, then the others by UTF-16 unit.
 */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) {
    let text = '['
    for (let index = 0; index < value.length; index++) text += (index === 0 ? '' : ',') + canonicalJson(value[index])
    return `${text}]`
  }
  // YAML has dates.
  if (value instanceof Date) return JSON.stringify(value)
  const fields = value as Record<string, unknown>
  let text = '{'
  for (const name of namesOf(fields)) {
    if (fields[name] === undefined) continue
    text += `${text.length === 1 ? '' : ','}${JSON.stringify(name)}:${canonicalJson(fields[name])}`
  }
  return `${text}}`
}

function namesOf(fields: object): string[] {
  const names = Object.keys(fields).sort()
  // Indices by number is how an object lists them. Names that begin with a digit are rare.
  return names.some(startsWithDigit) ? Object.keys(Object.fromEntries(names.map((name) => [name, null]))) : names
}

function startsWithDigit(name: string): boolean {
  const first = name.charCodeAt(0)
  return first >= 48 && first <= 57
}
