/** Characters of JSON that are remembered of an object: its owner's lists show them, and an event must fit into a message of the bus. */
const FACTS_MAX = 16_384
/** Characters of one text, where there is too much. */
const TEXT_MAX = 512

/** An object as its provider told it, without what is long where the whole is too long. Pure. */
export function smallFacts(facts: Record<string, unknown>): Record<string, unknown> {
  if (JSON.stringify(facts).length <= FACTS_MAX) return facts
  const plain = Object.entries(facts).filter(([, value]) => value === null || JSON.stringify(value).length <= TEXT_MAX)
  return Object.fromEntries(plain.slice(0, 24))
}
