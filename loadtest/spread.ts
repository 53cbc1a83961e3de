/**
 * Spreads calls evenly over many keys: each key once, from the last to the first, and then any of them with the same likelihood. From the last,
 * so that the keys of a scenario with fewer come at the end: the gateway has those already. `sample` is the call with the key of number 0; all
 * keys have its length.
 */
export function spreadOver(
  sample: Buffer,
  keyOf: (number: number) => string,
  keys: number,
  random: () => number = Math.random,
): () => Buffer {
  const at = sample.indexOf(keyOf(0))
  if (at < 0) throw new Error('the sample call does not name the first key')
  let made = 0
  return () => {
    const number = made < keys ? keys - 1 - made : Math.floor(random() * keys)
    made += 1
    // The bytes of a call may still be on their way when the next one is made.
    const call = Buffer.from(sample)
    call.write(keyOf(number), at, 'latin1')
    return call
  }
}
