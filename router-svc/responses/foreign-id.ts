import type { Identity } from '../../proto/identity.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { ObjectName } from '../carried/carrier.ts'

const LITELLM = /^litellm:custom_llm_provider:([^;]*);model_id:([^;]*);response_id:(.+)$/

/**
 * Where a response is whose id the gateway did not make: LiteLLM's (base64 of provider, deployment and the provider's id), or the provider's own.
 * Neither says whose it is, so only proxy admins may use them. Throws GatewayError `not_found`.
 */
export function foreignId(id: string, identity: Pick<Identity, 'role'>): ObjectName {
  if (identity.role !== 'proxy_admin')
    throw new GatewayError('not_found', `Response with id '${id}' not found.`, { param: 'previous_response_id' })
  const [, , deploymentId = '', inner = id] = LITELLM.exec(Buffer.from(id.replace(/^resp_/, ''), 'base64').toString('utf8')) ?? []
  return { deploymentId, id: inner }
}
