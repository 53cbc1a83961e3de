import type { Deployment } from '../../proto/deployment.ts'
import type { Credential } from './credential.ts'
import type { CredentialDeps } from './index.ts'

/** Serverless endpoints, one host a model, know no `api-key`. */
const SERVERLESS_HOSTS = /\.(?:models|inference)\.ai\.azure\.(?:com|us|cn)$/

/**
 * `api-key: K`, or `Authorization: Bearer T` with a token of Entra ID. What the deployment says beats the environment, a key beats a token. A
 * token is used as it is: whoever configures one renews it.
 */
export function azureCredential(deployment: Deployment, { key, open, env }: CredentialDeps): Credential | { problem: string } {
  const { azure_ad_token: sealed } = deployment.settings
  const token = typeof sealed === 'string' && sealed !== '' ? open(sealed) : null
  if (token !== null && deployment.apiKey === null) return bearer(token)
  if (key !== null) return keyed(key)
  const { AZURE_AD_TOKEN: shared } = env
  if (shared !== undefined && shared !== '') return bearer(shared)
  return { problem: 'no credential is configured (api_key, azure_ad_token, AZURE_API_KEY or AZURE_AD_TOKEN)' }
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
