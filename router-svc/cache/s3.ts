import { hash } from 'node:crypto'
import type { Clock } from '../../shared/clock.ts'
import type { AwsCredentials } from '../../shared/http/aws-signature.ts'
import type { HttpClient } from '../../shared/http/client.ts'
import { type Exchanged, exchange } from '../../shared/http/exchange.ts'
import type { Cache } from './cache.ts'
import { decodeEntry, encodeEntry } from './entry.ts'

export interface S3CacheOptions {
  http: HttpClient
  clock: Clock
  bucket: string
  /** Before every object's name; `` or ending in `/`. */
  prefix: string
  region: string
  /** Of a server that speaks S3's protocol, the bucket in the path; null = AWS. */
  endpoint: string | null
  credentials: AwsCredentials
}

const LIMIT = 10_000
/** An answer is smaller. */
const MAX_BYTES = 64 * 1024 * 1024
/** Deletions at once. */
const AT_ONCE = 16

/**
 * Answers as objects of a bucket. S3 has no lifetime per object: one that is over is deleted when it is asked for, and a lifecycle rule of the bucket
 * must see to those that nobody asks for.
 */
export function createS3Cache(options: S3CacheOptions): Cache {
  const { http, clock, region, credentials } = options
  const base = baseOf(options)
  const nameOf = (key: string) => `${options.prefix}${hash('sha256', key, 'hex')}.json`
  const urlOf = (name: string) => `${base}/${name.split('/').map(encoded).join('/')}`

  async function send(method: 'GET' | 'PUT' | 'DELETE', url: string, body: Uint8Array | '' = ''): Promise<Exchanged> {
    const unsigned = { method, url, headers: method === 'PUT' ? { 'content-type': 'application/json' } : {}, body }
    // Loaded when there is something to sign: a process that keeps nothing in S3 starts sooner.
    const { signAws } = await import('../../shared/http/aws-signature.ts')
    const headers = await signAws(unsigned, { service: 's3', region, credentials, now: clock.now() })
    const request = { method, url, headers, ...(body === '' ? {} : { body }) }
    return exchange(http, request, { limit: LIMIT, maxBytes: MAX_BYTES })
  }

  function check(answer: Exchanged, ...fine: number[]): Exchanged {
    if (fine.includes(answer.status)) return answer
    const code = /<Code>(\w{1,64})<\/Code>/.exec(answer.body.toString('utf8', 0, 4096))?.[1] ?? 'no code'
    throw new Error(`S3 answered ${answer.status} (${code})`)
  }

  const remove = async (name: string): Promise<void> => void check(await send('DELETE', urlOf(name)), 200, 204, 404)

  /** Names under the prefix, a page of a thousand at a time. */
  async function* listed(): AsyncGenerator<string[]> {
    let token = ''
    do {
      const query = new Map([
        ['list-type', '2'],
        ['prefix', options.prefix],
      ])
      if (token !== '') query.set('continuation-token', token)
      const text = [...query].map(([name, value]) => `${name}=${encoded(value)}`).join('&')
      const page = check(await send('GET', `${base}/?${text}`), 200).body.toString('utf8')
      yield [...page.matchAll(/<Key>([^<]*)<\/Key>/g)].map((match) => unescaped(match[1] ?? ''))
      token = unescaped(/<NextContinuationToken>([^<]*)</.exec(page)?.[1] ?? '')
    } while (token !== '')
  }

  return {
    async get(key) {
      const name = nameOf(key)
      const answer = check(await send('GET', urlOf(name)), 200, 404)
      if (answer.status === 404) return null
      const entry = decodeEntry(answer.body.toString('utf8'))
      if (entry !== null && entry.until > clock.now()) return entry.answer
      // Nobody waits for it; one that stays is over all the same.
      remove(name).catch(() => undefined)
      return null
    },
    async set(key, answer, ttl) {
      check(await send('PUT', urlOf(nameOf(key)), encodeEntry(answer, clock.now() + ttl)), 200)
    },
    async delete(keys) {
      // S3 does not say whether there was one.
      await inParts(keys.map(nameOf), remove)
      return keys.length
    },
    async flush() {
      for await (const names of listed()) await inParts(names.filter(isOurs), remove)
    },
    async ping() {
      check(await send('GET', `${base}/?list-type=2&max-keys=1&prefix=${encoded(options.prefix)}`), 200)
      return { connected: true }
    },
    async close() {},
  }

  /** A bucket may hold other things under the same prefix. */
  function isOurs(name: string): boolean {
    return name.startsWith(options.prefix) && /^[0-9a-f]{64}\.json$/.test(name.slice(options.prefix.length))
  }
}

function baseOf({ endpoint, bucket, region }: S3CacheOptions): string {
  if (endpoint !== null) return `${endpoint.replace(/\/+$/, '')}/${encoded(bucket)}`
  // A certificate for `*.s3.…` does not hold for a bucket with a dot in its name.
  const host = `s3.${region}.amazonaws.com`
  return bucket.includes('.') ? `https://${host}/${encoded(bucket)}` : `https://${bucket}.${host}`
}

/** As AWS encodes for its signature: everything but letters, digits and `-_.~`. */
function encoded(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
}

function unescaped(text: string): string {
  const named: Record<string, string> = { '&lt;': '<', '&gt;': '>', '&quot;': '"', '&apos;': "'", '&amp;': '&' }
  return text.replace(/&(?:lt|gt|quot|apos|amp);/g, (entity) => named[entity] ?? entity)
}

async function inParts(names: readonly string[], work: (name: string) => Promise<void>): Promise<void> {
  for (let at = 0; at < names.length; at += AT_ONCE) await Promise.all(names.slice(at, at + AT_ONCE).map(work))
}
