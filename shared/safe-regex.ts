/**
 * Which regular expressions somebody outside may have us run: those whose backtracking is bounded. The work of matching is at most
 * (choices at each place) multiplied: a quantifier without limit multiplies by the length of the input, a group of n alternatives by n, a
 * `?` by 2, and an expression that may begin anywhere once more by the length. Repeated groups that hold a choice are where it explodes,
 * so there are none; nor are there references and look-arounds.
 */

const PATTERN_MAX = 256
/** 2^20 steps are some 25 ms. With inputs of 256 characters that is one unlimited quantifier, or two where the expression begins with `^`. */
const BITS_MAX = 20

/** What is wrong with `pattern` for inputs of at most `length` characters; null = it may be run. */
export function regexProblem(pattern: string, length: number): string | null {
  if (pattern.length > PATTERN_MAX) return `is longer than ${PATTERN_MAX} characters`
  try {
    new RegExp(pattern)
  } catch {
    return 'is not a regular expression'
  }
  if (/\\[1-9k]/.test(pattern)) return 'must not refer back to groups'
  if (/\(\?(?!:)/.test(pattern)) return 'must not hold look-arounds, named groups or flags'
  const bits = bitsOf(pattern, Math.log2(length))
  if (bits === null) return 'must not repeat a group that holds a choice or a repetition'
  return bits <= BITS_MAX ? null : 'has too many choices: it could take too long'
}

/** log2 of how many ways an expression can be tried at most; null where a group with a choice in it is repeated. */
function bitsOf(pattern: string, unlimited: number): number | null {
  /** Of the groups open at this place: their alternatives, and whether anything inside can be tried in several ways. */
  const open: { alternatives: number; choice: boolean }[] = [{ alternatives: 1, choice: false }]
  let bits = 0
  let closed: { choice: boolean } | null = null
  for (let at = 0; at < pattern.length; at += 1) {
    const character = pattern[at]
    const group = open[open.length - 1] as { alternatives: number; choice: boolean }
    let ended: { choice: boolean } | null = null
    if (character === '\\') at += 1
    else if (character === '[') at = classEnd(pattern, at)
    else if (character === '(') {
      open.push({ alternatives: 1, choice: false })
      if (pattern.startsWith('?:', at + 1)) at += 2
    } else if (character === ')') {
      open.pop()
      bits += Math.log2(group.alternatives)
      ended = { choice: group.choice || group.alternatives > 1 }
      if (ended.choice) (open[open.length - 1] as { choice: boolean }).choice = true
    } else if (character === '|') group.alternatives += 1
    else {
      const length = quantifierAt(pattern, at)
      if (length > 0) {
        if (closed?.choice === true && character !== '?') return null
        bits += character === '?' ? 1 : /^\{\d+\}/.test(pattern.slice(at)) ? 0 : unlimited
        group.choice = true
        // The rest of it, and the mark of a lazy one.
        at += length - 1
        if (pattern[at + 1] === '?') at += 1
      }
    }
    closed = ended
  }
  const { alternatives } = open[0] as { alternatives: number }
  // Of several alternatives `^` holds the first one only.
  const anchored = pattern.startsWith('^') && alternatives === 1
  return bits + Math.log2(alternatives) + (anchored ? 0 : unlimited)
}

function quantifierAt(pattern: string, at: number): number {
  const character = pattern[at]
  if (character === '*' || character === '+' || character === '?') return 1
  return character === '{' ? (/^\{\d+(,\d*)?\}/.exec(pattern.slice(at))?.[0].length ?? 0) : 0
}

/** Where a character class ends. */
function classEnd(pattern: string, from: number): number {
  for (let at = from + 1; at < pattern.length; at += 1) {
    if (pattern[at] === '\\') at += 1
    else if (pattern[at] === ']') return at
  }
  return pattern.length
}
