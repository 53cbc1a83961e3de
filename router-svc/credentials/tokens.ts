import { GatewayError } from '../../shared/errors.ts'
import type { HttpClient } from '../../shared/http/client.ts'
import { exchange } from '../../shared/http/exchange.ts'

/** How a token is asked for (RFC 6749 §4.4, RFC 7523): a form, posted; the answer holds `access_token` and `expires_in`. */
export interface Grant {
  /** Tells grants apart; two deployments with the same one share the token. Never shown. */
  id: string
  /** Who gives it, for messages (`Entra ID`). */
  issuer: string
  /** `now`: Unix milliseconds. */
  request(now: number): {
    url: string
    form: Readonly<Record<string, string>>
    /** For issuers that take the client by Basic authentication alone. */
    headers?: Readonly<Record<string, string>>
  }
}

export interface Tokens {
  /**
   * The token at `now` (Unix milliseconds); a promise only when one must be waited for. Rejects with GatewayError
   * `provider_authentication` when it is refused, and with what befell the connection when there is no answer.
   */
  of(grant: Grant): (now: number) => string | Promise<string>
  /** The same for anything else that expires and is fetched another way; `id` tells such things apart. Rejects with what `fetch` rejects with. */
  kept<Value>(id: string, fetch: (now: number, http: HttpClient) => Promise<Held<Value>>): (now: number) => Value | Promise<Value>
}

export interface Held<Value> {
  value: Value
  /** Unix milliseconds. */
  expires: number
}

/** Milliseconds before expiry from which on a new one is fetched, and from which on the old one is not used any more. */
const AHEAD = 300_000
const TOO_LATE = 30_000
/** Milliseconds between attempts to renew a token that still holds. */
const AGAIN = 30_000
const LIMITS = { limit: 10_000, maxBytes: 1_000_000 }

/**
 * Tokens that expire, for all deployments and all runtimes of a router: a changed configuration does not fetch them anew.
 *
 * States of one: none → fetching → held → renewing (the old one is given out meanwhile) → held; a failure leaves what was before.
 */
export function createTokens({ http }: { http: HttpClient }): Tokens {
  const known = new Map<string, (now: number) => unknown>()
  const kept: Tokens['kept'] = <Value>(id: string, fetch: (now: number, http: HttpClient) => Promise<Held<Value>>) => {
    let value = known.get(id)
    if (value === undefined) {
      value = renewed((now) => fetch(now, http))
      known.set(id, value)
    }
    return value as (now: number) => Value | Promise<Value>
  }
  return { kept, of: (grant) => kept(`grant ${grant.id}`, (now) => fetchToken(http, grant, now)) }
}

function renewed<Value>(fetch: (now: number) => Promise<Held<Value>>): (now: number) => Value | Promise<Value> {
  let held: Held<Value> | null = null
  let fetching: Promise<Held<Value>> | null = null
  let tried = Number.NEGATIVE_INFINITY

  const renew = (now: number): Promise<Held<Value>> => {
    tried = now
    fetching ??= fetch(now)
      .then((fresh) => {
        held = fresh
        return fresh
      })
      .finally(() => {
        fetching = null
      })
    return fetching
  }

  return (now) => {
    if (held === null || now >= held.expires - TOO_LATE) return renew(now).then(({ value }) => value)
    // It still holds: nobody waits for the new one, and its failure is told when it is needed.
    if (now >= held.expires - AHEAD && now >= tried + AGAIN) renew(now).catch(() => undefined)
    return held.value
  }
}

async function fetchToken(http: HttpClient, grant: Grant, now: number): Promise<Held<string>> {
  const { url, form, headers: own } = grant.request(now)
  const headers = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json', ...own }
  const body = new URLSearchParams(form).toString()
  const answer = await exchange(http, { method: 'POST', url, headers, body }, LIMITS)
  const fields = fieldsOf(answer.body.toString('utf8'))
  const token = fields['access_token']
  // Seconds; some write them as text.
  const life = Number(fields['expires_in'])
  if (answer.status < 300 && typeof token === 'string' && token !== '' && life > 0)
    return { value: token, expires: now + life * 1000 }
  if (answer.status >= 500)
    throw new GatewayError('provider_unavailable', `${grant.issuer} gave no token: HTTP ${answer.status}.`)
  throw new GatewayError('provider_authentication', `${grant.issuer} gave no token: HTTP ${answer.status}${reasonOf(fields)}.`)
}

/** The issuer's code alone: its sentences name tenants and applications. */
function reasonOf(fields: Readonly<Record<string, unknown>>): string {
  const error = /^[\w-]{1,64}$/.exec(String(fields['error'] ?? fields['errorCode'] ?? ''))?.[0]
  const code = /\bAADSTS\d+\b/.exec(String(fields['error_description'] ?? ''))?.[0]
  const parts = [error, code].filter((part) => part !== undefined)
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`
}

/** What an issuer answered; empty where it is no JSON object. */
export function fieldsOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
