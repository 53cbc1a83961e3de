import { createHash } from 'node:crypto'
import type { Deployment, RuntimeSnapshot } from '../../proto/deployment.ts'
import type { Catalog } from '../catalog/catalog.ts'
import { canonicalJson } from './canonical-json.ts'
import type { Config } from './config.ts'
import type { Environment } from './references.ts'
import { deploymentOf, ownNames, withFileEnvironment } from './runtime.ts'
import type { Sealer } from './secrets.ts'
import { targetOf } from './target.ts'

type Service = NonNullable<RuntimeSnapshot['services']>[number]

/**
 * Credentials that the settings name for what providers serve beside their models: `files_settings`, `finetune_settings`, `batch_settings`,
 * `assistant_settings` and `vector_store_registry`, whose purposes end with the id of the store. Those of providers that are not
 * served are left out. Throws GatewayError `bad_request`.
 */
export function servicesOf(config: Config, env: Environment, sealer: Sealer, catalog: Catalog): Service[] {
  const environment = { ...env, ...config.environment_variables }
  const service = (purpose: string, provider: string, params: Record<string, unknown>): Service[] => {
    // Loading has warned of those.
    if (targetOf(`${provider}/*`, null, catalog, ownNames(config)).kind !== 'served') return []
    const { custom_llm_provider: _, model: __, ...own } = params
    const entry = { model_name: purpose, litellm_params: { ...own, model: `${provider}/*` } }
    const single = deploymentOf(entry, environment, sealer, {
      catalog,
      credentials: config.credential_list,
      providers: ownNames(config),
    })
    const id = createHash('sha256')
      .update(canonicalJson(['service', purpose, provider, params]))
      .digest('hex')
    const made = withFileEnvironment(single, config, sealer)
    // A deployment of no model: what it is asked for names its own.
    const deployment: Deployment = { ...made, id, modelGroup: '', model: '' }
    return [{ purpose, deployment }]
  }
  const listed = (purpose: string, entries: readonly { custom_llm_provider: string }[] | null | undefined): Service[] =>
    (entries ?? []).flatMap((entry) => service(purpose, entry.custom_llm_provider, entry))
  const { assistant_settings: assistants } = config
  return [
    ...listed('files_settings', config.files_settings),
    ...listed('batch_settings', config.batch_settings),
    ...listed('finetune_settings', config.finetune_settings),
    ...(assistants == null
      ? []
      : service('assistant_settings', assistants.custom_llm_provider, { ...assistants.litellm_params })),
    ...(config.vector_store_registry ?? []).flatMap(({ litellm_params: store }) => {
      const {
        vector_store_id: id,
        vector_store_description: _,
        vector_store_metadata: __,
        vector_store_name: ___,
        ...params
      } = store
      return service(`vector_store_registry:${id}`, store.custom_llm_provider, params)
    }),
  ]
}
