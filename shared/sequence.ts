/**
 * Numbers in [0, 1) that depend on a seed alone, a 32-bit whole number: what they chose can be made again. Mulberry32 (Tommy Ettinger, public
 * domain): 2^32 states are enough for a load or a scenario, and none for a secret.
 */
export function createSequence(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}
