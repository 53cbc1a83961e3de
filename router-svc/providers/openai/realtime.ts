import type { Headers, RealtimeAdapter, SocketUpstream, Target } from '../provider.ts'

/** Of the client's headers, for the provider: which protocol it speaks, and whom a provider may hold responsible. */
const PASSED = ['openai-beta', 'openai-safety-identifier'] as const
/** Of the client's query. */
const INTENT = 'intent'
/** A session that only transcribes: its models are named inside it, and the address names none. */
const TRANSCRIPTION = 'transcription'

/** Sessions as OpenAI opens them: `{base}/realtime?model=…`. */
export const openaiRealtime: RealtimeAdapter = {
  open: (request, target) => openaiSession(new URL(`${target.base}/realtime`), request, target),
}

const UNDATED: ReadonlySet<string> = new Set(['v1', 'latest', 'preview'])

/**
 * Azure's two forms: the undated one is OpenAI's, the dated one names deployment and version. A date is asked for by `api_version`; the undated API by
 * the base, by a version that is no date, by `realtime_protocol: GA`, or by saying nothing.
 */
export const azureRealtime: RealtimeAdapter = {
  open(request, target) {
    const base = new URL(target.base)
    const root = `${base.origin}${base.pathname.replace(/\/openai(?:\/.*)?$|\/models(?:\/.*)?$|\/+$/, '')}`
    const version = base.searchParams.get('api-version') ?? target.apiVersion
    const { realtime_protocol: protocol } = target.settings
    const undated = /\/openai\/v1(?:\/|$)/.test(base.pathname) || version === null || UNDATED.has(version)
    if (undated || (typeof protocol === 'string' && /^(?:ga|v1)$/i.test(protocol)))
      return openaiSession(new URL(`${root}/openai/v1/realtime`), request, target)
    const url = new URL(`${root}/openai/realtime`)
    url.searchParams.set('api-version', version)
    url.searchParams.set('deployment', target.model)
    return { url: withIntent(url, request.query).href, headers: passed(request.headers), protocols: [] }
  },
}

function openaiSession(
  url: URL,
  { query, headers }: { query: Readonly<Record<string, string>>; headers: Headers },
  target: Target,
): SocketUpstream {
  if (query[INTENT] !== TRANSCRIPTION) url.searchParams.set('model', target.model)
  return { url: withIntent(url, query).href, headers: passed(headers), protocols: [] }
}

function withIntent(url: URL, query: Readonly<Record<string, string>>): URL {
  const intent = query[INTENT]
  if (intent !== undefined) url.searchParams.set(INTENT, intent)
  return url
}

function passed(headers: Headers): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const name of PASSED) {
    const value = headers[name]
    if (value !== undefined) kept[name] = value
  }
  return kept
}
