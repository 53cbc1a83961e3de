/**
 * The names that `name` was probably meant to be, best first: those within a third of its length in single-letter edits (at most 3),
 * or that differ only in case, `-` and `_`.
 */
export function nearest(name: string, candidates: Iterable<string>, most = 3): string[] {
  const plain = fold(name)
  const limit = Math.min(3, Math.max(1, Math.floor(plain.length / 3)))
  return [...candidates]
    .map((candidate) => ({ candidate, distance: editDistance(plain, fold(candidate)) }))
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, most)
    .map(({ candidate }) => candidate)
}

function fold(name: string): string {
  return name.toLowerCase().replaceAll('-', '_')
}

/** Insertions, deletions, replacements and swaps of neighbours between two texts (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const replace = at(last, column - 1) + (a[row - 1] === b[column - 1] ? 0 : 1)
      let best = Math.min(replace, at(last, column) + 1, at(current, column - 1) + 1)
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        best = Math.min(best, at(beforeLast, column - 2) + 1)
      }
      current.push(best)
    }
    beforeLast = last
    last = current
  }
  return at(last, b.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? 0
}
