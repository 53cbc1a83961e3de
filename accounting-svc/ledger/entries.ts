import { scopes } from '../../proto/limits.ts'
import type { Attempt, TokenUsage, UsageEvent } from '../../proto/usage.ts'
import { NO_TOKENS } from '../../proto/usage.ts'
import type { EntryRow } from '../sql/ledger.ts'
import { otherUsage } from './usage.ts'

/** What one billed attempt costs: nano-dollars, and which prices said so (null = no price known). */
export interface Priced {
  cost: number
  rateVersion: string | null
}

const NONE: readonly string[] = []
/** Characters. Embeddings have a key per input, of which a call names 16 at most; namespaces are the operator's and the clients'. */
const CACHE_KEY_MAX = 2_048

/**
 * The ledger entries of one usage event: one per billed attempt, or one of cost 0 when nothing was billed. The last entry stands
 * for the call in counts (`calls` 1): it is the attempt whose outcome the client saw. Pure.
 */
export function entriesOf(event: UsageEvent, price: (attempt: Attempt, usage: TokenUsage) => Priced): EntryRow[] {
  const billed = event.attempts.filter((attempt) => attempt.usage !== undefined)
  if (billed.length === 0) return [entryOf(event, event.attempts.at(-1) ?? null, 1, { cost: 0, rateVersion: null })]
  return billed.map((attempt, position) =>
    entryOf(event, attempt, position === billed.length - 1 ? 1 : 0, price(attempt, attempt.usage ?? NO_TOKENS)),
  )
}

function entryOf(event: UsageEvent, attempt: Attempt | null, calls: 0 | 1, priced: Priced): EntryRow {
  // The tokens of an answer from the cache are counted, though nothing was called and nothing is priced.
  const usage = attempt === null ? (event.savedUsage ?? NO_TOKENS) : (attempt.usage ?? NO_TOKENS)
  // The entry that stands for the call says how the call ended; a further billed attempt says how it ended itself.
  const failure = calls === 1 ? (event.error ?? attempt?.error) : attempt?.error
  return {
    callId: clean(event.callId),
    take: event.take,
    attempt: attempt?.index ?? 0,
    entry: event.outcome === 'unsettled' ? 'unsettled' : 'settled',
    startedAt: event.startedAt,
    calls,
    keyHash: clean(event.keyHash),
    keyAlias: cleanOrNull(event.keyAlias),
    userId: cleanOrNull(event.userId),
    teamId: cleanOrNull(event.teamId),
    organizationId: cleanOrNull(event.organizationId),
    projectId: cleanOrNull(event.projectId),
    endUser: shortOrNull(event.endUser),
    tags: event.tags === undefined || event.tags.length === 0 ? NONE : event.tags.map(short),
    extraScopes: event.scopes === undefined || event.scopes.length === 0 ? null : scopesOfAttempt(event.scopes, attempt),
    endpoint: clean(event.endpoint),
    requestedModel: short(event.requestedModel),
    modelGroup: short(event.modelGroup),
    model: shortOrNull(attempt?.model),
    provider: cleanOrNull(attempt?.provider),
    deploymentId: cleanOrNull(attempt?.deploymentId),
    apiBase: cleanOrNull(attempt?.apiBase),
    reportedModel: cleanOrNull(attempt?.reportedModel),
    serviceTier: cleanOrNull(attempt?.serviceTier),
    outcome: calls === 1 ? event.outcome : (attempt?.outcome ?? event.outcome),
    status: event.status,
    errorCode: cleanOrNull(failure?.code),
    errorMessage: cleanOrNull(failure?.message),
    attemptStartedAt: attempt?.startedAt ?? event.startedAt,
    firstTokenAt: attempt?.firstTokenAt ?? event.firstTokenAt ?? null,
    endedAt: attempt?.endedAt ?? event.endedAt,
    inputTokens: usage.input,
    outputTokens: usage.output,
    cacheReadTokens: usage.cacheRead,
    cacheWriteTokens: usage.cacheWrite + usage.cacheWrite1h,
    reasoningTokens: usage.reasoning,
    otherUsage: otherJson(usage),
    estimated: usage.estimated === true,
    cost: priced.cost,
    rateVersion: priced.rateVersion,
    stream: event.stream === true,
    cacheHit: event.cacheHit === true,
    cacheKey: cleanOrNull(event.cacheKey?.slice(0, CACHE_KEY_MAX)),
    sessionId: cleanOrNull(event.sessionId),
    clientIp: cleanOrNull(event.clientIp),
    routerId: clean(event.routerId ?? ''),
    metadata: event.metadata === undefined ? '{}' : cleanJson(event.metadata),
  }
}

/** What counts in the budget of a provider or of a deployment is what was spent there, not what the call went on to cost elsewhere. */
function scopesOfAttempt(names: readonly string[], attempt: Attempt | null): string[] {
  return names.map(clean).filter((name) => {
    if (attempt === null) return true
    if (name.startsWith(scopes.provider(''))) return name === scopes.provider(attempt.provider)
    return !name.startsWith(scopes.deployment('')) || name === scopes.deployment(attempt.deploymentId)
  })
}

/** The rarely used part of a usage, so that a row can be priced again from the ledger alone. */
function otherJson(usage: TokenUsage): string | null {
  const other = otherUsage(usage)
  return other === null ? null : cleanJson(other)
}

/** PostgreSQL text holds no NUL (it would refuse the whole batch), and a lone surrogate would come back as another character. */
function clean(text: string): string {
  // Nearly always nothing to do, and asking costs a tenth of replacing.
  if (text.isWellFormed() && !text.includes('\0')) return text
  return text.replace(/[\0\p{Surrogate}]/gu, '')
}

/**
 * Text that clients choose and indexes hold. PostgreSQL refuses an index entry above 2,704 bytes, so that a long enough name would
 * otherwise be a call nobody pays for.
 */
function short(text: string): string {
  return clean(text.slice(0, 256))
}

function shortOrNull(text: string | null | undefined): string | null {
  return typeof text === 'string' ? short(text) : null
}

function cleanOrNull(text: string | null | undefined): string | null {
  return typeof text === 'string' ? clean(text) : null
}

/**
 * JSON that `jsonb` takes: without escaped NULs and lone surrogates. Only those are left as escapes by `JSON.stringify`, so an
 * escaped backslash in front is the one thing to step over.
 */
export function cleanJson(value: unknown): string {
  const json = JSON.stringify(value) ?? 'null'
  if (!json.includes('\\u')) return json
  return json.replace(/(\\\\)|\\u0000|\\ud[89a-f][0-9a-f]{2}/g, (_, backslash: string | undefined) => backslash ?? '')
}
