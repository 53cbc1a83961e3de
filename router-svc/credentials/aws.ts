import type { Deployment } from '../../proto/deployment.ts'
import type { AwsCredentials } from '../../shared/http/aws-signature.ts'
import { modelOf, REGION } from '../providers/bedrock/models.ts'
import type { Credential } from './credential.ts'
import type { CredentialDeps, CredentialMaker } from './index.ts'

/** Ways to get keys that need calls of their own, by the setting that asks for them. */
const UNSERVED: readonly (readonly [string, string])[] = [
  ['aws_role_name', 'roles to assume'],
  ['aws_web_identity_token', 'web identities'],
  ['aws_profile_name', 'profiles'],
]

/** An AWS host that tells its region: `bedrock-runtime.eu-west-1.amazonaws.com`, `vpce-….bedrock-runtime.eu-west-1.vpce.amazonaws.com`. */
const REGIONAL_HOST =
  /(?:^|\.)[a-z0-9-]+\.([a-z]{2,4}(?:-[a-z]+)+-\d)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|api\.aws)$/

/**
 * Bedrock's credential: an API key as a bearer token, or a signature over each request with access keys. What the deployment says beats the
 * environment. The region is that of the host a request goes to, where the host tells it.
 */
export const bedrockCredential: CredentialMaker = (deployment, deps) => {
  const endpoint = setting(deployment, 'aws_bedrock_runtime_endpoint', deps) || deps.env['AWS_BEDROCK_RUNTIME_ENDPOINT'] || ''
  const region = regionOf(deployment, deps.env) || regionOfHost(deployment.apiBase ?? endpoint)
  if (region === '') return { problem: 'no AWS region is configured (aws_region_name, AWS_REGION_NAME or AWS_REGION)' }
  if (!REGION.test(region)) return { problem: `aws_region_name "${region}" is not the name of a region` }
  const base = (endpoint || `https://bedrock-runtime.${region}.${domainOf(region)}`).replace(/\/+$/, '')
  const access = accessOf(deployment, deps)
  if ('problem' in access) return access
  if ('token' in access) return { base, headers: () => ({ authorization: `Bearer ${access.token}` }) }
  return { base, ...signing('bedrock', region, access) }
}

/** Signs what identifies a request and its content; any other header may be changed by a proxy on the way. */
function signing(service: string, region: string, credentials: AwsCredentials): Credential {
  // About 50 ms of a router’s start, for those alone that have such a deployment; no call waits for it. The first call tells of a failure.
  const loading = import('../../shared/http/aws-signature.ts')
  loading.catch(() => undefined)
  return {
    async headers(request, now) {
      const headers: Record<string, string> = {}
      for (const [name, value] of Object.entries(request.headers))
        if (name === 'content-type' || name.startsWith('x-amz-')) headers[name] = value
      const signed = { method: request.method, url: request.url, headers, body: request.body }
      const { signAws } = await loading
      return signAws(signed, { service, region: regionOfHost(request.url) || region, credentials, now })
    },
  }
}

/** Keys or a token: the deployment's own, else the environment's. */
function accessOf(deployment: Deployment, deps: CredentialDeps): AwsCredentials | { token: string } | { problem: string } {
  for (const [name, words] of UNSERVED) {
    if (setting(deployment, name, deps) !== '')
      return { problem: `${name}: ${words} of AWS are not served yet; give aws_access_key_id and aws_secret_access_key` }
  }
  if (deployment.apiKey !== null && deps.key !== null) return { token: deps.key }
  const own = keys((name) => setting(deployment, name.toLowerCase(), deps))
  if (own !== null) return own
  if (deps.key !== null) return { token: deps.key }
  return (
    keys((name) => deps.env[name] ?? '') ?? {
      problem:
        'no AWS credentials are configured (aws_access_key_id and aws_secret_access_key, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ' +
        'or an API key: api_key or AWS_BEARER_TOKEN_BEDROCK)',
    }
  )
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
  const { aws_region_name: named } = deployment.settings
  if (typeof named === 'string' && named !== '') return named
  return modelOf(deployment.model).region || env['AWS_REGION_NAME'] || env['AWS_REGION'] || env['AWS_DEFAULT_REGION'] || ''
}

/** Empty for a host that is not AWS's own, a proxy. */
function regionOfHost(url: string): string {
  return URL.canParse(url) ? (REGIONAL_HOST.exec(new URL(url).hostname)?.[1] ?? '') : ''
}

function domainOf(region: string): string {
  if (region.startsWith('cn-')) return 'amazonaws.com.cn'
  return region.startsWith('eusc-') ? 'amazonaws.eu' : 'amazonaws.com'
}

function setting(deployment: Deployment, name: string, deps: CredentialDeps): string {
  const value = deployment.settings[name]
  return typeof value === 'string' ? deps.open(value) : ''
}
