import type { Catalog } from '../../shared/catalog/catalog.ts'
import { GatewayError } from '../../shared/errors.ts'
import { mayCall } from '../../shared/model-access.ts'
import { modelInfo } from '../models/model-info.ts'
import type { Runtime } from '../models/runtime.ts'
import { type Route, route, z } from './route.ts'

const entry = z.object({
  model_name: z.string(),
  litellm_params: z.looseObject({ model: z.string() }).describe('Without credentials'),
  model_info: z.looseObject({
    id: z.string(),
    db_model: z.boolean(),
    mode: z.string().nullable(),
    max_input_tokens: z.number().nullable(),
    max_output_tokens: z.number().nullable(),
    input_cost_per_token: z.number().nullable().describe('Dollars'),
    output_cost_per_token: z.number().nullable().describe('Dollars'),
  }),
})

/** /model/info: what is served, by which deployments, at what price. */
export function modelRoutes(runtime: Runtime, catalog: Pick<Catalog, 'facts'>): Route[] {
  const shown = (models: readonly string[]): Record<string, unknown>[] =>
    runtime.deployments
      .filter(({ hidden }) => hidden !== true)
      .filter((deployment) => mayCall({ models }, [deployment.modelGroup], [deployment]))
      .map((deployment) => modelInfo(deployment, catalog.facts(deployment.provider, deployment.model)?.supports ?? []))
  return [
    route({
      method: 'GET',
      path: '/model/info',
      aliases: ['/v1/model/info'],
      tag: 'models',
      summary: 'The deployments behind the models a key may use',
      access: 'key',
      input: z.object({ litellm_model_id: z.string().optional() }),
      output: z.object({ data: z.array(entry) }),
      handle({ input, identity }) {
        const data = shown(identity.models)
        if (input.litellm_model_id === undefined) return { data }
        const one = data.filter((item) => (item['model_info'] as { id: string }).id === input.litellm_model_id)
        if (one.length === 0)
          throw new GatewayError('not_found', 'There is no model with this id.', { param: 'litellm_model_id' })
        return { data: one }
      },
    }),
    route({
      method: 'GET',
      path: '/v2/model/info',
      tag: 'models',
      summary: 'The same, a page at a time',
      access: 'key',
      input: z.object({
        model: z.string().optional(),
        search: z.string().optional(),
        page: z.coerce.number().int().min(1).default(1),
        size: z.coerce.number().int().min(1).max(1000).default(50),
      }),
      output: z.object({
        data: z.array(entry),
        total_count: z.number(),
        current_page: z.number(),
        total_pages: z.number(),
        size: z.number(),
      }),
      handle({ input, identity }) {
        const search = input.search?.toLowerCase() ?? ''
        const data = shown(identity.models).filter((item) => {
          const name = String(item['model_name'])
          return (input.model === undefined || name === input.model) && name.toLowerCase().includes(search)
        })
        const start = (input.page - 1) * input.size
        return {
          data: data.slice(start, start + input.size),
          total_count: data.length,
          current_page: input.page,
          total_pages: Math.ceil(data.length / input.size),
          size: input.size,
        }
      },
    }),
  ]
}
