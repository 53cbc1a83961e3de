import type { Deployment } from '../../proto/deployment.ts'
import type { Credential } from './credential.ts'
import type { CredentialDeps, CredentialMaker } from './index.ts'
import { settingOf, variableOf } from './settings.ts'
import { tokenHeaders } from './token-headers.ts'

const IAM = 'https://iam.cloud.ibm.com/identity/token'
const API_KEY_GRANT = 'urn:ibm:params:oauth:grant-type:apikey'
const BASES = ['WATSONX_API_BASE', 'WATSONX_URL', 'WX_URL', 'WML_URL'] as const
/** IBM's regions: `us-south`, `eu-de`, `jp-tok`. */
const REGION = /^[a-z]{2}-[a-z]{2,6}$/

/**
 * watsonx.ai: a ready token, a ZenApiKey (Cloud Pak for Data: `username:key` in base64), or an API key of IBM Cloud exchanged for tokens, in this
 * order; what the deployment says beats the environment. It also knows the region's host, and the project or space calls are booked on.
 */
export const watsonxCredential: CredentialMaker = (deployment, deps) => {
  const proof = proofOf(deployment, deps)
  if ('problem' in proof) return proof
  const region = regionOf(deployment, deps)
  if (region !== '' && !REGION.test(region)) return { problem: `watsonx_region_name "${region}" is not the name of a region` }
  if (region === '' && (deployment.apiBase ?? variableOf(deps.env, ...BASES)) === '')
    return { problem: 'no address is configured (api_base or WATSONX_URL, or watsonx_region_name)' }
  return {
    ...proof,
    ...(region === '' ? {} : { base: `https://${region}.ml.cloud.ibm.com` }),
    settings: containerOf(deployment, deps),
  }
}

function proofOf(deployment: Deployment, deps: CredentialDeps): Credential | { problem: string } {
  const token = settingOf(deployment, 'token', deps)
  if (token !== '') return constant(`Bearer ${token}`)
  const zen = settingOf(deployment, 'zen_api_key', deps)
  if (zen !== '') return constant(`ZenApiKey ${zen}`)
  if (deployment.apiKey !== null && deps.key !== null) return exchanged(deps.key, deps)
  const sharedToken = variableOf(deps.env, 'WATSONX_TOKEN')
  if (sharedToken !== '') return constant(`Bearer ${sharedToken}`)
  const sharedZen = variableOf(deps.env, 'WATSONX_ZENAPIKEY')
  if (sharedZen !== '') return constant(`ZenApiKey ${sharedZen}`)
  if (deps.key !== null) return exchanged(deps.key, deps)
  return {
    problem:
      'no credential is configured (api_key, token or zen_api_key; WATSONX_APIKEY or WATSONX_API_KEY, WATSONX_TOKEN, WATSONX_ZENAPIKEY)',
  }
}

function constant(authorization: string): Credential {
  const headers = { authorization }
  return { headers: () => headers }
}

function exchanged(key: string, { env, tokens }: CredentialDeps): Credential | { problem: string } {
  if (tokens === undefined) return { problem: 'tokens of IBM Cloud cannot be fetched here' }
  const url = variableOf(env, 'WATSONX_IAM_URL') || IAM
  const form = { grant_type: API_KEY_GRANT, apikey: key }
  const token = tokens.of({ id: JSON.stringify([url, form]), issuer: 'IBM Cloud', request: () => ({ url, form }) })
  return tokenHeaders(token)
}

/** `region_name` may be a continent that only routing knows; a region of IBM has two parts. */
function regionOf(deployment: Deployment, deps: CredentialDeps): string {
  const named = settingOf(deployment, 'watsonx_region_name', deps)
  if (named !== '') return named
  if (deployment.region !== undefined && REGION.test(deployment.region)) return deployment.region
  return variableOf(deps.env, 'WATSONX_REGION', 'WX_REGION')
}

/** A deployment that names either has both said: the environment's project must not beat its space. */
function containerOf({ settings }: Deployment, { env }: CredentialDeps): Record<string, string> {
  if (settings['project_id'] || settings['space_id']) return {}
  const project = variableOf(env, 'WATSONX_PROJECT_ID', 'WX_PROJECT_ID')
  if (project !== '') return { project_id: project }
  const space = variableOf(env, 'WATSONX_SPACE_ID', 'WATSONX_DEPLOYMENT_SPACE_ID', 'WX_SPACE_ID')
  return space === '' ? {} : { space_id: space }
}
