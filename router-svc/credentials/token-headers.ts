import type { Credential } from './credential.ts'

/** Proves with a token that is kept (tokens.ts): as `Authorization: Bearer`, or in the headers that `headersOf` makes of it. */
export function tokenHeaders(
  token: (now: number) => string | Promise<string>,
  headersOf: (token: string) => Record<string, string> = authorization,
): Pick<Credential, 'headers'> {
  return {
    headers(_, now) {
      const held = token(now)
      return typeof held === 'string' ? headersOf(held) : held.then(headersOf)
    },
  }
}

function authorization(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` }
}
