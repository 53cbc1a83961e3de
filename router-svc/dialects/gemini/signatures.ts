/**
 * Signatures of other providers' thinking, among those of Google's: a thought that Anthropic signed goes out in the place Google has for it,
 * marked, and comes back as what it was. Google's own are never touched.
 */

/** Base64 of twelve bytes, so that with the signature behind it the whole is still base64, as the protocol says of signatures. */
const MARK = Buffer.from('/anthropic/1').toString('base64')

export function marked(signature: string): string {
  return MARK + signature
}

/** What Anthropic signed; null for a signature of Google's. */
export function unmarked(signature: string): string | null {
  return signature.startsWith(MARK) ? signature.slice(MARK.length) : null
}
