import { text } from '../json.ts'
import type { Target } from '../provider.ts'

/**
 * What a chat is written in. `COHERE`: Cohere's first protocol, one message and a history; `COHEREV2`: its second, which its models that see or
 * think take alone; `GENERIC`: everybody else's.
 */
export type ApiFormat = 'GENERIC' | 'COHERE' | 'COHEREV2'

/** By the model's name; that of a dedicated endpoint does not tell, `base_model` may. */
export function formatOf({ model, baseModel, settings }: Target): ApiFormat {
  const names = [baseModel ?? '', text(settings['base_model']), model].map((name) => name.toLowerCase())
  const maker = names.find((name) => name !== '') ?? ''
  if (!maker.startsWith('cohere.')) return 'GENERIC'
  return /command-a-(?:vision|reasoning)/.test(maker) ? 'COHEREV2' : 'COHERE'
}

/** Oracle's API has one version, a date. Operators give the host, the host with the version, or the whole address of an action. */
export function actionUrl({ base }: Target, action: 'chat' | 'embedText' | 'rerankText'): string {
  return `${base.replace(/\/20231130(?:\/actions(?:\/\w+)?)?$/, '')}/20231130/actions/${action}`
}

/** What every request says of who pays and where the model runs (checked when the deployment was made: credentials/oci.ts). */
export function placeOf({ settings, model }: Target): { compartmentId: string; servingMode: Record<string, string> } {
  const compartmentId = text(settings['oci_compartment_id'])
  const dedicated = text(settings['oci_serving_mode']).toUpperCase() === 'DEDICATED'
  const servingMode = dedicated
    ? { servingType: 'DEDICATED', endpointId: text(settings['oci_endpoint_id'], model) }
    : { servingType: 'ON_DEMAND', modelId: model }
  return { compartmentId, servingMode }
}
