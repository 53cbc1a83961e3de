import type { Deployment } from '../../proto/deployment.ts'
import type { Credential } from './credential.ts'
import type { CredentialDeps } from './index.ts'
import { tokenHeaders } from './token-headers.ts'
import type { Tokens } from './tokens.ts'

/** Serverless endpoints, one host a model, know no `api-key`. */
const SERVERLESS_HOSTS = /\.(?:models|inference)\.ai\.azure\.(?:com|us|cn)$/
const AUTHORITY = 'https://login.microsoftonline.com'
const SCOPE = 'https://cognitiveservices.azure.com/.default'
/** Agents take tokens of their own audience, and no keys. */
const AGENTS_SCOPE = 'https://ai.azure.com/.default'

/** An application of Entra ID that gets its own tokens. */
interface Application {
  tenant: string
  client: string
  secret: string
}

/**
 * `api-key: K`, or `Authorization: Bearer T` with a token of Entra ID: one that is given (whoever configures it renews it), or one fetched for an
 * application (`tenant_id`, `client_id`, `client_secret`). What the deployment says beats the environment, a key beats a token, a token an
 * application.
 */
export function azureCredential(deployment: Deployment, deps: CredentialDeps): Credential | { problem: string } {
  return credentialFor(deployment, deps, SCOPE, keyed)
}

/** The same for Foundry's agents: what is given as a key is a token there. */
export function azureAgentsCredential(deployment: Deployment, deps: CredentialDeps): Credential | { problem: string } {
  return credentialFor(deployment, deps, AGENTS_SCOPE, bearer)
}

function credentialFor(
  deployment: Deployment,
  deps: CredentialDeps,
  audience: string,
  withKey: (key: string) => Credential,
): Credential | { problem: string } {
  const { key, open, env } = deps
  const { settings, apiKey } = deployment
  const setting = (name: string): string | null => {
    const value = settings[name]
    return typeof value === 'string' && value !== '' ? open(value) : null
  }
  const variable = (name: string): string | null => env[name] || null

  if (apiKey === null) {
    const token = setting('azure_ad_token')
    if (token?.startsWith('oidc/')) return { problem: 'azure_ad_token: tokens exchanged for others (oidc/…) are not served yet' }
    if (token !== null) return bearer(token)
  }
  const named = ['tenant_id', 'client_id', 'client_secret'].map(setting)
  // A part that is not in the deployment may be in the environment.
  const parts = ['AZURE_TENANT_ID', 'AZURE_CLIENT_ID', 'AZURE_CLIENT_SECRET'].map((name, at) => named[at] ?? variable(name))
  const application = applicationOf(parts)
  const scope = setting('azure_scope') ?? variable('AZURE_SCOPE') ?? audience
  const fetched = (): Credential | { problem: string } =>
    application === null
      ? { problem: 'tenant_id, client_id and client_secret belong together, and one is missing' }
      : fetchedToken(application, scope, variable('AZURE_AUTHORITY_HOST') ?? AUTHORITY, deps.tokens)

  if (apiKey === null && named.some((part) => part !== null)) return fetched()
  if (key !== null) return withKey(key)
  const shared = variable('AZURE_AD_TOKEN')
  if (shared !== null) return bearer(shared)
  if (application !== null) return fetched()
  return {
    problem: 'no credential is configured (api_key, azure_ad_token, or tenant_id, client_id and client_secret; AZURE_API_KEY)',
  }
}

function keyed(key: string): Credential {
  const plain = { 'api-key': key }
  const serverless = { authorization: `Bearer ${key}` }
  return { headers: ({ url }) => (SERVERLESS_HOSTS.test(new URL(url).hostname) ? serverless : plain) }
}

function bearer(token: string): Credential {
  const headers = { authorization: token.startsWith('Bearer ') ? token : `Bearer ${token}` }
  return { headers: () => headers }
}

function applicationOf([tenant, client, secret]: readonly (string | null)[]): Application | null {
  return tenant && client && secret ? { tenant, client, secret } : null
}

function fetchedToken(
  { tenant, client, secret }: Application,
  scope: string,
  authority: string,
  tokens: Tokens | undefined,
): Credential | { problem: string } {
  if (tokens === undefined) return { problem: 'tokens of Entra ID cannot be fetched here' }
  const url = `${authority.replace(/\/+$/, '')}/${encodeURIComponent(tenant)}/oauth2/v2.0/token`
  const form = { grant_type: 'client_credentials', client_id: client, client_secret: secret, scope }
  const token = tokens.of({ id: JSON.stringify([url, form]), issuer: 'Entra ID', request: () => ({ url, form }) })
  return tokenHeaders(token)
}
