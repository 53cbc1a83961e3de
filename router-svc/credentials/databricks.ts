import type { Deployment } from '../../proto/deployment.ts'
import type { Credential } from './credential.ts'
import type { CredentialDeps, CredentialMaker } from './index.ts'
import { settingOf, variableOf } from './settings.ts'
import { tokenHeaders } from './token-headers.ts'

/**
 * Databricks: a personal access token, or tokens fetched for a service principal (`client_id`, `client_secret`) from the workspace itself. What
 * the deployment says beats the environment; there, as LiteLLM has it, the service principal beats the token.
 */
export const databricksCredential: CredentialMaker = (deployment, deps) => {
  const host = hostOf(deployment, deps.env)
  if (host === null) return { problem: 'no workspace is configured (api_base, DATABRICKS_API_BASE or DATABRICKS_HOST)' }
  const base = { base: `${host}/serving-endpoints` }
  if (deployment.apiKey !== null && deps.key !== null) return { ...base, ...keyed(deps.key) }
  const named = ['client_id', 'client_secret'].map((name) => settingOf(deployment, name, deps))
  const parts = ['DATABRICKS_CLIENT_ID', 'DATABRICKS_CLIENT_SECRET'].map((name, at) => named[at] || variableOf(deps.env, name))
  const [client = '', secret = ''] = parts
  if (client !== '' && secret !== '') {
    const made = principal(host, client, secret, deps)
    return 'problem' in made ? made : { ...base, ...made }
  }
  if (named.some((part) => part !== '')) return { problem: 'client_id and client_secret belong together, and one is missing' }
  if (deps.key !== null) return { ...base, ...keyed(deps.key) }
  return {
    problem:
      'no credential is configured (api_key, or client_id and client_secret; DATABRICKS_API_KEY or DATABRICKS_TOKEN, ' +
      'DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET)',
  }
}

function keyed(key: string): Credential {
  const headers = { authorization: `Bearer ${key}` }
  return { headers: () => headers }
}

function principal(host: string, client: string, secret: string, { tokens }: CredentialDeps): Credential | { problem: string } {
  if (tokens === undefined) return { problem: 'tokens of Databricks cannot be fetched here' }
  const url = `${host}/oidc/v1/token`
  const form = { grant_type: 'client_credentials', scope: 'all-apis' }
  const headers = { authorization: `Basic ${Buffer.from(`${client}:${secret}`).toString('base64')}` }
  const id = JSON.stringify([url, client, secret])
  const token = tokens.of({ id, issuer: 'Databricks', request: () => ({ url, form, headers }) })
  return tokenHeaders(token)
}

/** `https://workspace` of an address someone gave, with or without scheme and path; null when nobody did. */
function hostOf({ apiBase }: Deployment, env: CredentialDeps['env']): string | null {
  const given = apiBase ?? variableOf(env, 'DATABRICKS_API_BASE', 'DATABRICKS_HOST')
  const url = /^https?:\/\//.test(given) ? given : `https://${given}`
  return given !== '' && URL.canParse(url) ? new URL(url).origin : null
}
