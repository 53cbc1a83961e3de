import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import type { Random } from './random.ts'

/**
 * Makes ids and nonces of this process follow a seed until the returned function is called: they order rows and leases. For simulations
 * only, whose keys open nothing.
 */
export function seedIds(random: Random): () => void {
  const { randomUUID, randomBytes } = crypto
  const bytes = (size: number): Buffer => {
    const made = Buffer.alloc(size)
    for (let at = 0; at < size; at++) made[at] = random.between(0, 255)
    return made
  }
  const uuid = (): string => {
    const hex = bytes(16).toString('hex')
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`
  }
  const replace = (values: object): void => {
    Object.assign(crypto, values)
    syncBuiltinESMExports()
  }
  replace({
    randomUUID: uuid,
    randomBytes: (size: number, done?: (error: Error | null, made: Buffer) => void) => {
      if (done === undefined) return bytes(size)
      done(null, bytes(size))
      return undefined
    },
  })
  return () => replace({ randomUUID, randomBytes })
}
