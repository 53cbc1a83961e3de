import { count, type Fields, isFields, objects, text } from './wire.ts'

/**
 * What the answer's text rests on, as OpenAI annotations. Segments count UTF-8 bytes of `content`; annotations count UTF-16 units. Each
 * source of a segment is one annotation.
 */
export function annotations(metadata: unknown, content: string): Fields[] {
  if (!isFields(metadata)) return []
  const chunks = objects(metadata['groundingChunks'])
  const bytes = Buffer.from(content, 'utf8')
  const units = (end: number): number => bytes.toString('utf8', 0, end).length
  const found: Fields[] = []
  for (const support of objects(metadata['groundingSupports'])) {
    const segment = isFields(support['segment']) ? support['segment'] : {}
    const place = { start_index: units(count(segment['startIndex'])), end_index: units(count(segment['endIndex'])) }
    const indices = support['groundingChunkIndices']
    for (const index of Array.isArray(indices) ? (indices as unknown[]) : []) {
      const chunk = chunks[Number(index)]
      const source = chunk?.['web'] ?? chunk?.['maps'] ?? chunk?.['retrievedContext']
      if (!isFields(source) || text(source['uri']) === '') continue
      found.push({ type: 'url_citation', url_citation: { ...place, url: source['uri'], title: text(source['title']) } })
    }
  }
  return found
}

/** Searches to bill: each query on models that bill them, else one for an answer that searched. */
export function searches(candidates: readonly Readonly<Fields>[], each: boolean): number {
  let queries = 0
  for (const { groundingMetadata } of candidates) {
    const asked = isFields(groundingMetadata) ? groundingMetadata['webSearchQueries'] : undefined
    if (Array.isArray(asked)) queries += asked.filter((query) => query !== '').length
  }
  return each ? queries : Math.min(queries, 1)
}
