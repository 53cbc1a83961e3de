/** JSON with the members of every object sorted by name and without absent ones: equal values give equal text. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) {
    let text = '['
    for (let index = 0; index < value.length; index++) text += (index === 0 ? '' : ',') + canonicalJson(value[index])
    return `${text}]`
  }
  const fields = value as Record<string, unknown>
  let text = '{'
  for (const name of Object.keys(fields).sort()) {
    if (fields[name] === undefined) continue
    text += `${text.length === 1 ? '' : ','}${JSON.stringify(name)}:${canonicalJson(fields[name])}`
  }
  return `${text}}`
}
