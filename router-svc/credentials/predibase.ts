import type { CredentialMaker } from './index.ts'
import { settingOf, variableOf } from './settings.ts'

/** Predibase: a constant key, and the tenant (`tenant_id`, PREDIBASE_TENANT_ID) that is part of every address. */
export const predibaseCredential: CredentialMaker = (deployment, deps) => {
  if (deps.key === null) return { problem: 'no API key is configured (api_key or PREDIBASE_API_KEY)' }
  const tenant = settingOf(deployment, 'tenant_id', deps) || variableOf(deps.env, 'PREDIBASE_TENANT_ID')
  if (tenant === '') return { problem: 'no tenant is configured (tenant_id or PREDIBASE_TENANT_ID)' }
  const addressAt = (host: string) => `${host}/${encodeURIComponent(tenant)}/deployments/v2/llms`
  const headers = { authorization: `Bearer ${deps.key}` }
  return {
    base: addressAt('https://serving.app.predibase.com'),
    baseOver: (given) => (given.includes('/deployments/') ? given : addressAt(given)),
    headers: () => headers,
  }
}
