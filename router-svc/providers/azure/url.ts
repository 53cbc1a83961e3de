import type { Target } from '../provider.ts'

/** Azure OpenAI's endpoints carry the date of their API; its last stable one understands everything OpenAI's chat has. */
const OPENAI_VERSION = '2024-10-21'
/** What no stable one has. */
const PREVIEWS: Readonly<Record<string, string>> = {
  '/images/edits': '2025-04-01-preview',
  '/audio/speech': '2025-04-01-preview',
}
/** The route of Foundry that serves every vendor's models knows this one date. */
const MODELS_VERSION = '2024-05-01-preview'
/** What operators write for the undated API, which takes a version only to allow previews. */
const UNDATED: ReadonlySet<string> = new Set(['v1', 'latest', 'preview'])
const ROUTES =
  /\/(?:chat\/completions|completions|embeddings|rerank|images\/(?:generations|edits)|audio\/(?:speech|transcriptions|translations))$/
/** Hosts of Azure OpenAI itself: a bare base of one means its deployments. */
const OPENAI_HOSTS = /\.(?:openai|cognitiveservices)\.azure\.(?:com|us|cn)$/
const FOUNDRY_HOSTS = /\.services\.ai\.azure\.(?:com|us|cn)$/

/** Where a request goes, and the API it finds there. */
export interface Address {
  url: string
  /** `YYYY-MM-DD`, `-preview` or not, of Azure OpenAI's dated API; null = an API whose features do not depend on a date. */
  dated: string | null
}

/**
 * Azure OpenAI: `{base}/openai/deployments/{deployment}{route}?api-version=…`, or `{base}/openai/v1{route}` where the base or the version says
 * so. The base may be the resource, any part of the address after it, or the whole, with a query or without.
 */
export function openaiAddress(target: Target, route: string): Address {
  const url = new URL(target.base)
  const path = url.pathname.replace(/\/+$/, '')
  const version = target.apiVersion
  if (/\/openai\/v1(?:\/|$)/.test(path)) return undated(url, path, route, version)
  const whole = path.includes('/openai/deployments/') || ROUTES.test(path)
  if (!whole && version !== null && UNDATED.has(version)) {
    return undated(url, `${path.replace(/\/openai$/, '')}/openai/v1`, route, version)
  }
  const deployment = `${path.replace(/\/openai$/, '')}/openai/deployments/${encodeURIComponent(target.model)}`
  const date = url.searchParams.get('api-version') ?? version ?? PREVIEWS[route] ?? OPENAI_VERSION
  return { url: withVersion(url, withRoute(whole ? path : deployment, route), date), dated: date }
}

/**
 * Foundry: Azure OpenAI's forms where the base says so, `{resource}/models{route}` of a Foundry resource, else the address of one model, as
 * serverless endpoints have it: under `/v1` when nothing but the host is given.
 */
export function foundryAddress(target: Target, route: string): Address {
  const url = new URL(target.base)
  const path = url.pathname.replace(/\/+$/, '')
  if (/\/openai(?:\/|$)/.test(path) || (path === '' && OPENAI_HOSTS.test(url.hostname))) return openaiAddress(target, route)
  const foundry = FOUNDRY_HOSTS.test(url.hostname)
  if (foundry && path === '' && target.apiVersion !== null && UNDATED.has(target.apiVersion)) return openaiAddress(target, route)
  // Rankings are a vendor's own wherever they are served, and know no dates.
  const ranks = route === '/rerank'
  const start = path !== '' ? path : foundry && !ranks ? '/models' : '/v1'
  const given = url.searchParams.get('api-version') ?? target.apiVersion
  const version = given ?? (ranks ? null : foundry || /\/models(?:\/|$)/.test(start) ? MODELS_VERSION : null)
  return { url: withVersion(url, withRoute(start, route), version), dated: null }
}

/** The first date that knows the Responses API. */
const RESPONSES_SINCE = '2025-03-01'

/**
 * The Responses API stands beside the deployments, which its requests name as their model: `{base}/openai/responses?api-version=…` of a date
 * that knows it, else `{base}/openai/v1/responses`.
 */
export function responsesUrl(target: Target): string {
  const url = new URL(target.base)
  const root = url.pathname.replace(/\/openai(?:\/.*)?$|\/models(?:\/.*)?$|\/+$/, '').replace(ROUTES, '')
  const given = url.searchParams.get('api-version') ?? target.apiVersion
  const dated = given !== null && !url.pathname.includes('/openai/v1') && /^\d{4}-/.test(given) && given >= RESPONSES_SINCE
  if (dated) return withVersion(url, `${root}/openai/responses`, given)
  url.searchParams.delete('api-version')
  return undated(url, `${root}/openai/v1`, '/responses', given).url
}

function undated(url: URL, path: string, route: string, version: string | null): Address {
  const preview = version === 'preview' || version === 'latest' ? 'preview' : null
  return { url: withVersion(url, withRoute(path, route), url.searchParams.get('api-version') ?? preview), dated: null }
}

/** A base that ends with a route is one model's chat: another mode's route takes its place. */
function withRoute(path: string, route: string): string {
  return path.endsWith(route) && !(route === '/completions' && path.endsWith('/chat/completions'))
    ? path
    : path.replace(ROUTES, '') + route
}

function withVersion(base: URL, path: string, version: string | null): string {
  const url = new URL(base)
  url.pathname = path
  if (version !== null) url.searchParams.set('api-version', version)
  return url.href
}
