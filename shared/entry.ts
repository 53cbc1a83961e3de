/**
 * The entry of a table under a name; undefined where it has none. A plain `table[name]` also finds what every object inherits: for names that come
 * from a provider, a client or a file, `constructor` would be a function and `__proto__` an object.
 */
export function entryOf<Entry>(table: Readonly<Record<string, Entry>>, name: string): Entry | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}
