import { fromHttp, fromIni, fromInstanceMetadata, fromTemporaryCredentials, fromWebToken } from '@aws-sdk/credential-providers'
import { GatewayError } from '../../shared/errors.ts'
import type { AwsCredentials } from '../../shared/http/aws-signature.ts'
import type { HttpClient } from '../../shared/http/client.ts'
import { type AwsSource, SESSION } from './aws-source.ts'
import type { CredentialDeps } from './index.ts'
import type { Held } from './tokens.ts'
import { webIdentityToken } from './web-identity-token.ts'

type Env = CredentialDeps['env']
/** What the library's providers give. */
type Identity = AwsCredentials & { expiration?: Date }

/** Keys that say nothing of their end are read again so often, in milliseconds: files are edited. */
const HOUR = 3_600_000

/**
 * The keys at `now` (Unix milliseconds), fetched. Rejects with GatewayError `provider_authentication` (nobody gives any), `provider_unavailable` or
 * `provider_connection` (who should is not there).
 */
export async function fetchAwsKeys(source: AwsSource, env: Env, now: number, http: HttpClient): Promise<Held<AwsCredentials>> {
  try {
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = await identity(source, env, http)
    const value = { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) }
    return { value, expires: expiration?.getTime() ?? now + HOUR }
  } catch (thrown) {
    throw failure(thrown)
  }
}

async function identity(source: AwsSource, env: Env, http: HttpClient): Promise<Identity> {
  const { role, webIdentity } = source
  const clientConfig = clientOf(source)
  if (role === null) return base(source, env, http)
  if (webIdentity !== null) {
    const token = await webIdentityToken(webIdentity, { env, http })
    return fromWebToken({ roleArn: role.arn, roleSessionName: role.session, webIdentityToken: token, clientConfig })()
  }
  const params = {
    RoleArn: role.arn,
    RoleSessionName: role.session,
    ...(role.externalId === null ? {} : { ExternalId: role.externalId }),
  }
  return fromTemporaryCredentials({ masterCredentials: source.keys ?? (await base(source, env, http)), params, clientConfig })()
}

/**
 * AWS's own order, by the environment we were given: web identity (a cluster's service account), shared files, the container's endpoint, the
 * machine's. Static variables were looked at before any of this.
 */
async function base(source: AwsSource, env: Env, http: HttpClient): Promise<Identity> {
  const profile = source.profile ?? env['AWS_PROFILE'] ?? env['AWS_DEFAULT_PROFILE'] ?? null
  const files = {
    ...(env['AWS_SHARED_CREDENTIALS_FILE'] ? { filepath: env['AWS_SHARED_CREDENTIALS_FILE'] } : {}),
    ...(env['AWS_CONFIG_FILE'] ? { configFilepath: env['AWS_CONFIG_FILE'] } : {}),
    ignoreCache: true,
    clientConfig: clientOf(source),
  }
  if (profile !== null) return fromIni({ profile, ...files })()
  const { AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: arn } = env
  if (file && arn) {
    const role = { arn, session: env['AWS_ROLE_SESSION_NAME'] || SESSION, externalId: null }
    return identity({ ...source, role, webIdentity: `oidc/file/${file}` }, env, http)
  }
  try {
    return await fromIni({ profile: 'default', ...files })()
  } catch (thrown) {
    if ((thrown as { tryNextLink?: boolean }).tryNextLink === false) throw thrown
  }
  return remote(env)
}

/** The endpoint of a container, or of the machine. */
async function remote(env: Env): Promise<Identity> {
  const relative = env['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI']
  const full = env['AWS_CONTAINER_CREDENTIALS_FULL_URI']
  const once = { timeout: 1000, maxRetries: 1 }
  if (relative || full) {
    const token = env['AWS_CONTAINER_AUTHORIZATION_TOKEN']
    const tokenFile = env['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE']
    return fromHttp({
      ...(relative ? { awsContainerCredentialsRelativeUri: relative } : { awsContainerCredentialsFullUri: full as string }),
      ...(tokenFile ? { awsContainerAuthorizationTokenFile: tokenFile } : {}),
      ...(token && !tokenFile ? { awsContainerAuthorizationToken: token } : {}),
      ...once,
    })()
  }
  const disabled = env['AWS_EC2_METADATA_DISABLED']
  if (disabled && disabled !== 'false') throw none()
  return fromInstanceMetadata({ ...once, logger: SILENT })()
}

/** The library would print its words. */
const SILENT = { debug() {}, info() {}, warn() {}, error() {} }

function clientOf({ region, stsEndpoint }: AwsSource): { region: string; endpoint?: string; maxAttempts: number } {
  return { region, maxAttempts: 2, ...(stsEndpoint === null ? {} : { endpoint: stsEndpoint }) }
}

function none(): GatewayError {
  return new GatewayError(
    'provider_authentication',
    'No AWS credentials were found: neither in the environment nor in shared files, nor from a container or machine.',
  )
}

/** The name of what AWS refused with and no more: its sentences name accounts, roles and users. */
function failure(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  const { name, code, $metadata } = thrown as { name?: string; code?: string; $metadata?: { httpStatusCode?: number } }
  const status = $metadata?.httpStatusCode
  if (status === undefined && (/^E[A-Z]+$/.test(code ?? '') || name === 'TimeoutError'))
    return new GatewayError('provider_connection', `AWS gave no credentials: ${code ?? name}.`, { cause: thrown })
  if (status !== undefined && status >= 500)
    return new GatewayError('provider_unavailable', `AWS gave no credentials: HTTP ${status}.`, { cause: thrown })
  const reason = status === undefined ? (name ?? 'Error') : `HTTP ${status}, ${name ?? 'Error'}`
  return new GatewayError('provider_authentication', `AWS gave no credentials (${reason}).`, { cause: thrown })
}
