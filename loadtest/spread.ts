/**
 * Spreads calls evenly over many keys: each key once, in turn, and then any of them with the same likelihood. `sample` is the call with the
 * key of number 0; all keys have its length.
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
    const number = made < keys ? made : Math.floor(random() * keys)
    made += 1
    // The bytes of a call may still be on their way when the next one is made.
    const call = Buffer.from(sample)
    call.write(keyOf(number), at, 'latin1')
    return call
  }
}
