import type { GatewayError } from '../../../shared/errors.ts'
import { type Fields, isFields, parsedInput, text } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import { reclassified } from '../openai-variant.ts'
import type { Headers, Target, UpstreamRequest } from '../provider.ts'
import { postJson } from '../text-protocol.ts'

/** How long it may keep a request to create one waiting, seconds; its longest. */
const WAIT = 60
const VERSION = /^[0-9a-f]{40,64}$/

/** Beside the input: the prediction's own members. */
const BESIDE = new Set(['webhook', 'webhook_events_filter'])

/**
 * A prediction of a model's: `owner/name`, `owner/name:version`, a version alone, or `deployments/owner/name`. `stream`: its output is to be told
 * while it is made, so that nobody waits for it here.
 */
export function createPrediction(fields: Fields, target: Target, stream: boolean): UpstreamRequest {
  const given = Object.entries(fields)
  const input = Object.fromEntries(given.filter(([name]) => !BESIDE.has(name)))
  const beside = Object.fromEntries(given.filter(([name]) => BESIDE.has(name)))
  const { path, version } = placeOf(target.model)
  const body = { input, ...(version === null ? {} : { version }), ...beside, ...(stream ? { stream: true } : {}) }
  const base = target.base.endsWith('/v1') ? target.base : `${target.base}/v1`
  const sent = postJson(`${base}${path}`, body)
  return stream ? sent : { ...sent, headers: { ...sent.headers, prefer: `wait=${WAIT}` } }
}

function placeOf(model: string): { path: string; version: string | null } {
  const deployed = /^deployments\/([^/:]+)\/([^/:]+)$/.exec(model)
  if (deployed !== null) return { path: `/deployments/${deployed[1]}/${deployed[2]}/predictions`, version: null }
  const colon = model.lastIndexOf(':')
  const version = model.slice(colon + 1)
  if (colon >= 0 || VERSION.test(model)) return { path: '/predictions', version }
  return { path: `/models/${model.split('/').map(encodeURIComponent).join('/')}/predictions`, version: null }
}

/** States: starting, processing → succeeded, failed, canceled, aborted. */
export type PredictionStatus = 'running' | 'succeeded' | 'over'

export function statusOf({ status }: Fields): PredictionStatus | null {
  if (status === 'starting' || status === 'processing' || status === 'queued') return 'running'
  if (status === 'succeeded' || status === 'successful') return 'succeeded'
  return status === 'failed' || status === 'canceled' || status === 'aborted' ? 'over' : null
}

/** One of its addresses; null where there is none. */
export function addressOf({ urls }: Fields, name: 'get' | 'stream'): string | null {
  const address = isFields(urls) ? urls[name] : undefined
  return typeof address === 'string' ? address : null
}

/** What models say of content they will not make. */
const HELD_BACK = /nsfw|safety|flagged|sensitive|moderat|content polic/i

/** A prediction that ended without success, in its own words. */
export function failed(provider: string, { status, error }: Fields): GatewayError {
  const message = text(error) || `The prediction was ${text(status, 'given up')}`
  const failure = decodeError(provider, 200, {}, JSON.stringify({ error: { message } }))
  return HELD_BACK.test(message) ? reclassified(failure, provider, 'content_policy') : failure
}

/** `{detail, status, title, invalid_fields}`; one that throttles says in words when to come back. */
export function replicateError(provider: string, status: number, headers: Headers, body: string): GatewayError {
  const parsed = parsedInput(body)
  if (!isFields(parsed)) return decodeError(provider, status, headers, body)
  const { detail, title } = parsed
  const message = text(detail).trim() || text(title)
  const wait = /available in (?:~\s*)?(\d+)\s*s/i.exec(message)?.[1]
  const told = wait === undefined || headers['retry-after'] !== undefined ? headers : { ...headers, 'retry-after': wait }
  if (message === '') return decodeError(provider, status, told, body)
  return decodeError(provider, status, told, JSON.stringify({ error: { message } }))
}
