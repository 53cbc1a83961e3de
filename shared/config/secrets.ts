import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import { GatewayError } from '../errors.ts'

/** Keeps stored provider credentials unreadable to whoever sees the database or the bus. */
export interface Sealer {
  /** AES-256-GCM with a fresh nonce, so that sealing the same text twice gives different values. */
  seal(text: string): string
  /**
   * A text that was never sealed is returned as it is. Throws GatewayError `internal` when it was sealed under another secret or
   * was changed since.
   */
  open(text: string): string
  /** A short proof that this cluster wrote `text`: 22 characters, always the same for the same text. */
  sign(text: string): string
}

/** `sealed:1:` and base64url of nonce (12 bytes), tag (16 bytes), ciphertext. The number names the recipe. */
const PREFIX = 'sealed:1:'
const NONCE = 12
const TAG = 16

/** A virtual key as it is stored and looked up: SHA-256, 64 lower-case hex digits (LiteLLM's scheme, so its keys can be imported). */
export function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

/**
 * A sealer whose key is derived from `secret` (LITELLM_SALT_KEY, else the master key) with HKDF-SHA256. All processes of a cluster
 * need the same secret. Null (one process, nothing to protect it with): texts stay as they are.
 */
export function createSealer(secret: string | null): Sealer {
  if (secret === null || secret === '') {
    return {
      seal: (text) => text,
      open(text) {
        if (text.startsWith(PREFIX)) throw unopenable('no LITELLM_SALT_KEY or master key is set here')
        return text
      },
      sign: (text) => createHash('sha256').update(text).digest().subarray(0, 16).toString('base64url'),
    }
  }
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'turnpike stored credentials', 32))
  const signing = Buffer.from(hkdfSync('sha256', secret, '', 'turnpike signed names', 32))
  return {
    sign: (text) => createHmac('sha256', signing).update(text).digest().subarray(0, 16).toString('base64url'),
    seal(text) {
      const nonce = randomBytes(NONCE)
      const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG })
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
      return PREFIX + Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64url')
    },
    open(text) {
      if (!text.startsWith(PREFIX)) return text
      const bytes = Buffer.from(text.slice(PREFIX.length), 'base64url')
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE), { authTagLength: TAG })
        decipher.setAuthTag(bytes.subarray(NONCE, NONCE + TAG))
        return decipher.update(bytes.subarray(NONCE + TAG), undefined, 'utf8') + decipher.final('utf8')
      } catch (cause) {
        throw unopenable('it was sealed under another LITELLM_SALT_KEY or master key', cause)
      }
    },
  }
}

/** Compares two secrets in a time that tells nothing about where, or by how much, they differ. */
export function sameSecret(a: string, b: string): boolean {
  return timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest())
}

function unopenable(why: string, cause?: unknown): GatewayError {
  return new GatewayError('internal', `A stored credential cannot be opened: ${why}.`, { cause })
}
