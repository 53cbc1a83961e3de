import type { Deployment } from '../../proto/deployment.ts'
import type { AwsCredentials } from '../../shared/http/aws-signature.ts'
import { modelOf, REGION } from '../providers/bedrock/models.ts'
import { type AwsSource, SESSION } from './aws-source.ts'
import type { Credential } from './credential.ts'
import type { CredentialDeps, CredentialMaker } from './index.ts'
import { settingOf, variableOf } from './settings.ts'
import { isToken } from './web-identity-token.ts'

/** An AWS host that tells its region: `bedrock-runtime.eu-west-1.amazonaws.com`, `vpce-….bedrock-runtime.eu-west-1.vpce.amazonaws.com`. */
const REGIONAL_HOST =
  /(?:^|\.)[a-z0-9-]+\.([a-z]{2,4}(?:-[a-z]+)+-\d)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|api\.aws)$/

/** One of AWS's services as a credential knows it. */
interface Service {
  /** In the signature's scope. */
  name: string
  /** First labels of its host, before the region's. */
  host: string
  /** What follows the region, where it is not AWS's domain there. */
  behind?: string
  /** The setting and the variable that hold another base URL. */
  endpoint?: readonly [string, string]
  /** Takes API keys as bearer tokens. */
  bearer: boolean
}

/**
 * Bedrock's credential: an API key as a bearer token, or a signature over each request with access keys. What the deployment says beats the
 * environment. The region is that of the host a request goes to, where the host tells it.
 */
export const bedrockCredential: CredentialMaker = credentialFor({
  name: 'bedrock',
  host: 'bedrock-runtime',
  endpoint: ['aws_bedrock_runtime_endpoint', 'AWS_BEDROCK_RUNTIME_ENDPOINT'],
  bearer: true,
})

/** That of Bedrock's OpenAI endpoint, a service of its own. */
export const mantleCredential: CredentialMaker = credentialFor({
  name: 'bedrock-mantle',
  host: 'bedrock-mantle',
  behind: 'api.aws/v1',
  bearer: true,
})

/** SageMaker's: a signature, always. */
export const sagemakerCredential: CredentialMaker = credentialFor({
  name: 'sagemaker',
  host: 'runtime.sagemaker',
  endpoint: ['sagemaker_base_url', 'AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME'],
  bearer: false,
})

/** Polly's: a signature, always. */
export const pollyCredential: CredentialMaker = credentialFor({ name: 'polly', host: 'polly', bearer: false })

/** AgentCore's: a signature, or a token of whoever its agents let in. */
export const agentcoreCredential: CredentialMaker = credentialFor({
  name: 'bedrock-agentcore',
  host: 'bedrock-agentcore',
  bearer: true,
})

/** That of Bedrock's agents, which are called at a host of their own. */
export const agentCredential: CredentialMaker = credentialFor({ name: 'bedrock', host: 'bedrock-agent-runtime', bearer: true })

function credentialFor(service: Service): CredentialMaker {
  return (deployment, deps) => {
    const [named, variable] = service.endpoint ?? []
    const endpoint = (named && settingOf(deployment, named, deps)) || (variable && deps.env[variable]) || ''
    const region = regionOf(deployment, deps.env) || regionOfHost(deployment.apiBase ?? endpoint)
    if (region === '') return { problem: 'no AWS region is configured (aws_region_name, AWS_REGION_NAME or AWS_REGION)' }
    if (!REGION.test(region)) return { problem: `aws_region_name "${region}" is not the name of a region` }
    const base = (endpoint || `https://${service.host}.${region}.${service.behind ?? domainOf(region)}`).replace(/\/+$/, '')
    const access = accessOf(deployment, deps, region, service.bearer)
    if ('problem' in access) return access
    if ('token' in access) return { base, headers: () => ({ authorization: `Bearer ${access.token}` }) }
    return { base, ...signing(service.name, region, access.keys) }
  }
}

/** Keys at a time in Unix milliseconds. */
type Keys = (now: number) => AwsCredentials | Promise<AwsCredentials>

/** Signs what identifies a request and its content; any other header may be changed by a proxy on the way. */
function signing(service: string, region: string, keys: Keys): Credential {
  // About 50 ms of a router’s start, for those alone that have such a deployment; no call waits for it. The first call tells of a failure.
  const loading = import('../../shared/http/aws-signature.ts')
  loading.catch(() => undefined)
  return {
    async headers(request, now) {
      const headers: Record<string, string> = {}
      for (const [name, value] of Object.entries(request.headers))
        if (name === 'content-type' || name.startsWith('x-amz')) headers[name] = value
      const signed = { method: request.method, url: request.url, headers, body: request.body }
      const [{ signAws }, credentials] = await Promise.all([loading, keys(now)])
      return signAws(signed, { service, region: regionOfHost(request.url) || region, credentials, now })
    },
  }
}

/**
 * An API key or access keys: the deployment's own (a web identity before a role, a role before a profile, a profile before keys, as LiteLLM has
 * it), else the environment's.
 */
function accessOf(
  deployment: Deployment,
  deps: CredentialDeps,
  region: string,
  bearer: boolean,
): { keys: Keys } | { token: string } | { problem: string } {
  if (bearer && deployment.apiKey !== null && deps.key !== null) return { token: deps.key }
  const own = keys((name) => settingOf(deployment, name.toLowerCase(), deps))
  if (own !== null && 'problem' in own) return own
  const source = sourceOf(deployment, deps, region, own)
  if ('problem' in source) return source
  const asked = source.role !== null || source.profile !== null
  if (!asked && own !== null) return { keys: () => own }
  if (!asked && bearer && deps.key !== null) return { token: deps.key }
  const shared = asked ? null : keys((name) => deps.env[name] ?? '')
  if (shared !== null) return 'problem' in shared ? shared : { keys: () => shared }
  const { tokens, env } = deps
  if (tokens === undefined)
    return {
      problem:
        'no AWS credentials are configured (aws_access_key_id and aws_secret_access_key, aws_role_name, aws_profile_name, ' +
        'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or an API key: api_key or AWS_BEARER_TOKEN_BEDROCK)',
    }
  // The library is AWS's own and large: only who fetches keys loads it.
  return {
    keys: tokens.kept(`aws ${JSON.stringify(source)}`, async (now, http) => {
      const { fetchAwsKeys } = await import('./aws-chain.ts')
      return fetchAwsKeys(source, env, now, http)
    }),
  }
}

function sourceOf(
  deployment: Deployment,
  deps: CredentialDeps,
  region: string,
  own: AwsCredentials | null,
): AwsSource | { problem: string } {
  const named = (name: string): string | null => settingOf(deployment, name, deps) || null
  const arn = named('aws_role_name')
  const webIdentity = named('aws_web_identity_token')
  if (arn === null && webIdentity !== null) return { problem: 'aws_role_name is missing beside aws_web_identity_token' }
  const stsEndpoint = named('aws_sts_endpoint')
  // Whoever may add models must not have files, variables and the machine's own tokens read and sent to a server of their choice.
  if (deployment.fromDatabase && webIdentity !== null && !isToken(webIdentity))
    return { problem: 'aws_web_identity_token of a stored model must be the token itself' }
  if (deployment.fromDatabase && stsEndpoint !== null && webIdentity === null && own === null)
    return { problem: 'aws_sts_endpoint of a stored model needs keys of its own (aws_access_key_id and aws_secret_access_key)' }
  const session = named('aws_session_name') ?? SESSION
  if (!/^[\w+=,.@-]{2,64}$/.test(session)) return { problem: 'aws_session_name must be 2 to 64 of letters, digits and _+=,.@-' }
  return {
    region,
    profile: named('aws_profile_name'),
    role: arn === null ? null : { arn, session, externalId: named('aws_external_id') },
    webIdentity,
    keys: own,
    stsEndpoint,
  }
}

/** Null when none is set. One of the two alone says so. */
function keys(read: (name: string) => string): AwsCredentials | { problem: string } | null {
  const accessKeyId = read('AWS_ACCESS_KEY_ID')
  const secretAccessKey = read('AWS_SECRET_ACCESS_KEY')
  if (accessKeyId === '' && secretAccessKey === '') return null
  if (accessKeyId === '') return { problem: 'aws_access_key_id is missing beside aws_secret_access_key' }
  if (secretAccessKey === '') return { problem: 'aws_secret_access_key is missing beside aws_access_key_id' }
  const sessionToken = read('AWS_SESSION_TOKEN')
  return { accessKeyId, secretAccessKey, ...(sessionToken === '' ? {} : { sessionToken }) }
}

/** What the deployment says, the model's own name (`us-west-2/…`, an ARN), or the environment; empty when nobody does. */
function regionOf(deployment: Deployment, env: CredentialDeps['env']): string {
  const { aws_region_name: named, model_id: id } = deployment.settings
  if (typeof named === 'string' && named !== '') return named
  const model = typeof id === 'string' && id !== '' ? id : deployment.model
  const region = modelOf(model).region ?? /\barn:[a-z-]+:bedrock-agentcore:([a-z0-9-]+):/.exec(model)?.[1]
  return region ?? variableOf(env, 'AWS_REGION_NAME', 'AWS_REGION', 'AWS_DEFAULT_REGION')
}

/** Empty for a host that is not AWS's own, a proxy. */
function regionOfHost(url: string): string {
  return URL.canParse(url) ? (REGIONAL_HOST.exec(new URL(url).hostname)?.[1] ?? '') : ''
}

function domainOf(region: string): string {
  if (region.startsWith('cn-')) return 'amazonaws.com.cn'
  return region.startsWith('eusc-') ? 'amazonaws.eu' : 'amazonaws.com'
}
