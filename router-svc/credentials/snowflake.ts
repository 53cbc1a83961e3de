import type { CredentialMaker } from './index.ts'
import { settingOf, variableOf } from './settings.ts'

const KIND = 'x-snowflake-authorization-token-type'
/** LiteLLM's mark of a programmatic access token, which looks like a JWT. */
const ACCESS_TOKEN = 'pat/'

/**
 * Snowflake: a JWT signed with a user's key pair, or a programmatic access token (`pat/…`, or SNOWFLAKE_TOKEN); both are bearer tokens whose kind
 * is told apart. A deployment whose `extra_headers` say the kind (OAUTH) is taken at its word. The account tells the host.
 */
export const snowflakeCredential: CredentialMaker = (deployment, deps) => {
  const { key, env } = deps
  if (key === null) return { problem: 'no credential is configured (api_key; SNOWFLAKE_JWT, or SNOWFLAKE_TOKEN)' }
  const account = settingOf(deployment, 'account_id', deps) || variableOf(env, 'SNOWFLAKE_ACCOUNT_ID', 'SNOWFLAKE_ACCOUNT')
  if (account === '' && (deployment.apiBase ?? variableOf(env, 'SNOWFLAKE_API_BASE')) === '')
    return { problem: 'no account is configured (account_id or SNOWFLAKE_ACCOUNT_ID, or api_base)' }
  const shared = deployment.apiKey === null && variableOf(env, 'SNOWFLAKE_JWT') === ''
  const marked = key.startsWith(ACCESS_TOKEN)
  const headers: Record<string, string> = { authorization: `Bearer ${marked ? key.slice(ACCESS_TOKEN.length) : key}` }
  if (!Object.keys(deployment.extraHeaders).some((name) => name.toLowerCase() === KIND))
    headers[KIND] = marked || shared ? 'PROGRAMMATIC_ACCESS_TOKEN' : 'KEYPAIR_JWT'
  // Names of hosts have no underscores.
  const host = `${account.replaceAll('_', '-')}.snowflakecomputing.com`
  return { ...(account === '' ? {} : { base: `https://${host}/api/v2/cortex` }), headers: () => headers }
}
