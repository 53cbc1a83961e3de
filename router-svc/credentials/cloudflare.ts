import type { CredentialMaker } from './index.ts'
import { settingOf, variableOf } from './settings.ts'

/** Cloudflare: an API token as it is; the account is part of the address. */
export const cloudflareCredential: CredentialMaker = (deployment, deps) => {
  if (deps.key === null) return { problem: 'no API key is configured (api_key; CLOUDFLARE_API_KEY or CLOUDFLARE_API_TOKEN)' }
  const account = settingOf(deployment, 'account_id', deps) || variableOf(deps.env, 'CLOUDFLARE_ACCOUNT_ID')
  if (account === '' && (deployment.apiBase ?? variableOf(deps.env, 'CLOUDFLARE_API_BASE')) === '')
    return { problem: 'no account is configured (account_id or CLOUDFLARE_ACCOUNT_ID, or api_base)' }
  const headers = { authorization: `Bearer ${deps.key}` }
  const base = `https://api.cloudflare.com/client/v4/accounts/${encodeURIComponent(account)}/ai`
  return { ...(account === '' ? {} : { base }), headers: () => headers }
}
