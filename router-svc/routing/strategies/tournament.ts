/** Out of question, as a score. */
export const OUT = Number.POSITIVE_INFINITY

/**
 * The lowest of many numbers that change one at a time: a tree of minima and of how many have them. A change and a pick each cost as many
 * steps as the number has binary digits, ten for 1,000, where looking at all of them took 17 µs and more.
 */
export class Tournament {
  readonly size: number
  /** Leaves begin here; the root is 1. */
  readonly #leaves: number
  readonly #lowest: Float64Array
  readonly #counts: Int32Array

  constructor(size: number) {
    this.size = size
    let leaves = 1
    while (leaves < size) leaves *= 2
    this.#leaves = leaves
    this.#lowest = new Float64Array(leaves * 2).fill(OUT)
    this.#counts = new Int32Array(leaves * 2)
  }

  /** OUT when all are. */
  get lowest(): number {
    return this.#lowest[1] as number
  }

  get(index: number): number {
    return this.#lowest[this.#leaves + index] as number
  }

  set(index: number, score: number): void {
    let node = this.#leaves + index
    if (this.#lowest[node] === score) return
    this.#setLeaf(node, score)
    while (node > 1) {
      node >>= 1
      this.#play(node)
    }
  }

  /** Every number anew. */
  fill(scoreOf: (index: number) => number): void {
    for (let index = 0; index < this.size; index += 1) this.#setLeaf(this.#leaves + index, scoreOf(index))
    for (let node = this.#leaves - 1; node >= 1; node -= 1) this.#play(node)
  }

  /** Index of one of those that have the lowest score, each as likely; -1 = all are OUT. */
  pick(random: () => number): number {
    if (this.lowest === OUT) return -1
    const count = this.#counts[1] as number
    let left = count === 1 ? 0 : Math.floor(random() * count)
    const lowest = this.lowest
    let node = 1
    while (node < this.#leaves) {
      node *= 2
      if (this.#lowest[node] !== lowest) node += 1
      else if (left >= (this.#counts[node] as number)) {
        left -= this.#counts[node] as number
        node += 1
      }
    }
    return node - this.#leaves
  }

  /** Index of one of those whose score is at most `limit`, each as likely; -1 = there is none. */
  pickWithin(limit: number, random: () => number): number {
    if (this.lowest > limit || this.lowest === OUT) return -1
    // Where many are within it, drawing finds one soon; where few are, they are soon listed.
    for (let draw = 0; draw < DRAWS; draw += 1) {
      const index = Math.floor(random() * this.size)
      if (this.get(index) <= limit) return index
    }
    const found: number[] = []
    this.#collect(1, limit, found)
    return found[Math.floor(random() * found.length)] as number
  }

  #collect(node: number, limit: number, found: number[]): void {
    if ((this.#lowest[node] as number) > limit) return
    if (node >= this.#leaves) {
      found.push(node - this.#leaves)
      return
    }
    this.#collect(node * 2, limit, found)
    this.#collect(node * 2 + 1, limit, found)
  }

  #setLeaf(node: number, score: number): void {
    this.#lowest[node] = score
    this.#counts[node] = score === OUT ? 0 : 1
  }

  #play(node: number): void {
    const left = this.#lowest[node * 2] as number
    const right = this.#lowest[node * 2 + 1] as number
    this.#lowest[node] = Math.min(left, right)
    this.#counts[node] =
      (left <= right ? (this.#counts[node * 2] as number) : 0) + (right <= left ? (this.#counts[node * 2 + 1] as number) : 0)
  }
}

const DRAWS = 16
