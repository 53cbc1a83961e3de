/** A decimal as people and JSON write it: sign, digits, fraction, exponent. */
const DECIMAL = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/

/** Nano-dollars in a dollar, as a power of ten. */
const NANO = 9

/**
 * `value × 10^power` as an integer, through the decimal digits and never through float multiplication (0.1 × 3 is not 0.3 in
 * binary). A number is read by its shortest decimal form, which is what its author wrote. What is finer than the result's
 * unit is rounded half to even.
 *
 * Throws RangeError for what is not a finite decimal.
 */
export function scaleDecimal(value: string | number, power: number): bigint {
  const text = typeof value === 'number' ? String(value) : value.trim()
  const match = DECIMAL.exec(text)
  const whole = match?.[2] ?? ''
  const fraction = match?.[3] ?? ''
  if (match === null || whole.length + fraction.length === 0)
    throw new RangeError(`"${text.slice(0, 40)}" is not a decimal number`)
  const digits = BigInt(whole + fraction)
  const shift = Number(match[4] ?? 0) - fraction.length + power
  const size = shift >= 0 ? digits * 10n ** BigInt(shift) : divideHalfEven(digits, 10n ** BigInt(-shift))
  return match[1] === '-' ? -size : size
}

/**
 * Dollars → integer nano-dollars, exact to the nano-dollar (finer parts round half to even).
 * Throws RangeError for what is not a decimal, or is beyond ± $9,007,199 (2^53 nano-dollars).
 */
export function nanoOf(dollars: string | number): number {
  const nano = Number(scaleDecimal(dollars, NANO))
  if (!Number.isSafeInteger(nano)) throw new RangeError(`"${dollars}" dollars is more than can be counted exactly`)
  return nano
}

/** Integer nano-dollars → dollars as an exact decimal, without exponent and without trailing zeros: 1500 → `0.0000015`. */
export function formatDollars(nano: number | bigint): string {
  const digits = (nano < 0 ? -nano : nano).toString().padStart(NANO + 1, '0')
  const whole = digits.slice(0, -NANO)
  const fraction = digits.slice(-NANO).replace(/0+$/, '')
  const sign = nano < 0 ? '-' : ''
  return fraction === '' ? `${sign}${whole}` : `${sign}${whole}.${fraction}`
}

/** `a / b` rounded half to even, for `a` ≥ 0 and `b` > 0. */
export function divideHalfEven(a: bigint, b: bigint): bigint {
  const quotient = a / b
  const twice = (a % b) * 2n
  if (twice < b || (twice === b && quotient % 2n === 0n)) return quotient
  return quotient + 1n
}
