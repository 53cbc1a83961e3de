import { GatewayError } from '../../shared/errors.ts'
import { hostOf, isLocation } from '../providers/vertex/models.ts'
import type { Route } from '../runtime.ts'

/** Whose protocol the answers of a site speak, as far as usage is read from them (usage-readers.ts). */
export type Protocol = 'openai' | 'gemini' | 'bedrock' | 'cohere' | 'watsonx' | 'assemblyai'

/** Where one prefix leads (surface reference §1.4). */
export interface Site {
  /** In the provider table: whose deployments prove the call. The first one's variables in the environment count where there is no deployment. */
  providers: readonly [string, ...string[]]
  protocol: Protocol
  /** Absolute address of what follows the prefix (without query). */
  url(route: Route, rest: string): string
  /** Where a path names the model: the text before it is the first group, the model the second. */
  model?: RegExp
  /** How well a deployment's place is the one a path names: 0 = not at all. */
  fit?(route: Route, rest: string): number
}

const baseOf = ({ apiBase, target }: Route): string => (apiBase ?? target.base).replace(/\?.*$/s, '').replace(/\/+$/, '')

/** Below the root of the provider's API: its own base may end with a version, which the path has, too. */
const versionless = (route: Route, rest: string): string =>
  `${baseOf(route).replace(/\/v\d+(?:(?:beta|alpha)\d*)?$/, '')}/${rest}`

const plain = (route: Route, rest: string): string => `${baseOf(route)}/${rest}`

const openai: Site = { providers: ['openai', 'text-completion-openai'], protocol: 'openai', url: versionless }

const VERTEX = /projects\/([^/]+)\/locations\/([^/]+)/

const vertex: Site = {
  providers: ['vertex_ai', 'vertex_ai_beta'],
  protocol: 'gemini',
  url: vertexUrl,
  model: /^(.*\/models\/|models\/|.*\/endpoints\/)((?:(?!%3a)[^/:])+)/i,
  fit(route, rest) {
    const asked = VERTEX.exec(rest)
    const own = VERTEX.exec(baseOf(route))
    if (asked === null || own === null || asked[1] !== own[1]) return 0
    return asked[2] === own[2] ? 2 : 1
  },
}

/** `v1/projects/P/locations/L/…` at the location's host; a path that names no project means the deployment's own. */
function vertexUrl(route: Route, rest: string): string {
  const base = baseOf(route)
  const given = route.deployment.apiBase
  const own = VERTEX.exec(base)
  const place = VERTEX.exec(rest) ?? own
  const root =
    given === null
      ? `https://${hostOf(place === null ? 'global' : locationIn(place[2] as string))}`
      : given.replace(/\/projects\/.*$/, '').replace(/\/v\d+(?:(?:beta|alpha)\d*)?$/, '')
  const [, version = 'v1', path = rest] = /^(v\d\w*)\/(.*)$/s.exec(rest) ?? []
  const inPlace = own === null || VERTEX.test(path) ? path : `${own[0]}/${path}`
  return `${root}/${version}/${inPlace}`
}

/** It becomes part of a host that gets our token: anything but a location's name could be somebody else's host. Throws GatewayError `bad_request`. */
function locationIn(segment: string): string {
  if (isLocation(segment)) return segment
  throw new GatewayError('bad_request', `The path names no location of Google's: ${segment}.`)
}

/** Of Bedrock's paths, those that agents' own host serves (https://docs.aws.amazon.com/bedrock/latest/APIReference). */
const AGENTS =
  /^(?:agents|agent-aliases|knowledgebases|flows|retrieveAndGenerate|retrieveAndGenerateStream|rerank|generateQuery|optimize-prompt|sessions|invocations)(?:\/|$)/
/** The region in the name of a resource of AWS's, which may be encoded. */
const ARN_REGION = /arn(?::|%3A)aws[\w-]*(?::|%3A)bedrock(?::|%3A)([a-z0-9-]+)(?::|%3A)/i

const bedrock: Site = {
  providers: ['bedrock', 'bedrock_converse'],
  protocol: 'bedrock',
  model: /^(model\/)([^/]+)/i,
  fit(route, rest) {
    const asked = ARN_REGION.exec(rest)?.[1]
    return asked !== undefined && baseOf(route).includes(`.${asked}.`) ? 1 : 0
  },
  url(route, rest) {
    let base = baseOf(route)
    const host = /^https:\/\/bedrock-runtime\.([a-z0-9-]+)\./.exec(base)
    const asked = ARN_REGION.exec(rest)?.[1]
    if (host !== null && asked !== undefined) base = base.replace(`.${host[1]}.`, `.${asked}.`)
    if (host !== null && AGENTS.test(rest)) base = base.replace('//bedrock-runtime.', '//bedrock-agent-runtime.')
    return `${base}/${rest}`
  },
}

const ASSEMBLYAI = /^https:\/\/llm-gateway\.assemblyai\.com\/v1$/

/** Its own base is the gateway to language models; sound is heard at another host. */
function assemblyai(host: string): Site {
  return {
    providers: ['assemblyai'],
    protocol: 'assemblyai',
    url: (route, rest) => (ASSEMBLYAI.test(baseOf(route)) ? `${host}/${rest}` : versionless(route, rest)),
  }
}

/** By prefix. */
export const SITES: Readonly<Record<string, Site>> = {
  openai,
  openai_passthrough: openai,
  anthropic: { providers: ['anthropic'], protocol: 'openai', url: versionless },
  gemini: {
    providers: ['gemini'],
    protocol: 'gemini',
    url: versionless,
    model: /^(.*\/(?:tuned)?models\/|(?:tuned)?models\/)((?:(?!%3a)[^/:])+)/i,
  },
  'vertex_ai/discovery': { ...vertex, url: (_, rest) => `https://discoveryengine.googleapis.com/${rest}` },
  vertex_ai: vertex,
  'vertex-ai': vertex,
  bedrock,
  azure: {
    providers: ['azure', 'azure_text'],
    protocol: 'openai',
    url: (route, rest) => `${baseOf(route).replace(/\/openai(?:\/.*)?$/, '')}/${rest}`,
    model: /^((?:.*\/)?deployments\/)([^/]+)/i,
  },
  azure_ai: {
    providers: ['azure_ai'],
    protocol: 'openai',
    url: (route, rest) => `${baseOf(route).replace(/\/(?:models|openai|anthropic|providers|v1)(?:\/.*)?$/, '')}/${rest}`,
    model: /^((?:.*\/)?deployments\/)([^/]+)/i,
  },
  cohere: {
    providers: ['cohere', 'cohere_chat'],
    protocol: 'cohere',
    url: (route, rest) => `${baseOf(route).replace(/\/v[12](?:\/.*)?$/, '')}/${rest}`,
  },
  mistral: { providers: ['mistral'], protocol: 'openai', url: versionless },
  vllm: { providers: ['vllm', 'hosted_vllm'], protocol: 'openai', url: versionless },
  watsonx: { providers: ['watsonx', 'watsonx_text'], protocol: 'watsonx', url: plain },
  cursor: { providers: ['cursor'], protocol: 'openai', url: plain },
  assemblyai: assemblyai('https://api.assemblyai.com'),
  'eu.assemblyai': assemblyai('https://api.eu.assemblyai.com'),
  langfuse: { providers: ['langfuse'], protocol: 'openai', url: plain },
  milvus: { providers: ['milvus'], protocol: 'openai', url: plain },
}
