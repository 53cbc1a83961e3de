import { GatewayError } from '../../../shared/errors.ts'
import { text } from '../json.ts'
import type { Target } from '../provider.ts'
import { modelOf } from './models.ts'

/** What can be asked of a model. */
export type Action = 'converse' | 'converse-stream' | 'invoke' | 'invoke-with-response-stream'

/** Where a model is asked. Throws GatewayError `bad_request` where there is no base. */
export function modelUrl(target: Target, action: Action): string {
  const { id, region } = modelOf(text(target.settings['model_id'], target.model))
  return `${baseOf(target.base, region)}/model/${encodeURIComponent(id)}/${action}`
}

/** The base of the deployment, in the region that the model's name holds where it holds one. */
function baseOf(base: string, region: string | null): string {
  if (base === '') throw new GatewayError('bad_request', 'litellm.BadRequestError: the deployment needs an AWS region.')
  if (region === null) return base.replace(/\/+$/, '')
  return base.replace(/^(https:\/\/bedrock-runtime(?:-fips)?\.)[^.]+(\.amazonaws\.com)/, `$1${region}$2`).replace(/\/+$/, '')
}
