import { GatewayError } from '../../shared/errors.ts'
import type { AccessGroups } from '../identity/access-groups.ts'
import { writerOf } from '../identity/writer.ts'
import type { Runtime } from '../models/runtime.ts'
import { list } from './field-types.ts'
import { type Route, route, z } from './route.ts'

const name = () => z.string().min(1).max(512)
const fields = z.object({
  access_group_name: name().optional(),
  description: z.string().nullish(),
  access_model_names: list().nullish(),
  access_mcp_server_ids: list().nullish(),
  access_agent_ids: list().nullish(),
  assigned_team_ids: list().nullish().describe('The teams that have it, and no others'),
  assigned_key_ids: list().nullish().describe('The keys that have it (themselves or their SHA-256), and no others'),
})
const id = z.object({ access_group_id: z.string() })

const shown = z.object({
  access_group_id: z.string(),
  access_group_name: z.string(),
  description: z.string().nullable(),
  access_model_names: list(),
  access_mcp_server_ids: list(),
  access_agent_ids: list(),
  assigned_team_ids: list(),
  assigned_key_ids: list().describe('SHA-256 of the keys'),
  created_at: z.iso.datetime(),
  created_by: z.string().nullable(),
  updated_at: z.iso.datetime(),
  updated_by: z.string().nullable(),
})

const ALL = { path: '/v1/access_group', aliases: ['/v1/unified_access_group'] }
const ONE = { path: '/v1/access_group/{access_group_id}', aliases: ['/v1/unified_access_group/{access_group_id}'] }

/** /v1/access_group: bundles of models, tools and agents, granted to keys and teams by their `access_group_ids`. */
export function accessGroupRoutes(groups: AccessGroups): Route[] {
  const tag = 'access groups'
  return [
    route({
      ...ALL,
      method: 'POST',
      tag,
      summary: 'Make an access group, and grant it',
      access: 'admin',
      input: fields.extend({ access_group_name: name() }),
      output: shown,
      status: 201,
      handle: (call) => groups.create(call.input, writerOf(call)),
    }),
    route({
      ...ALL,
      method: 'GET',
      tag,
      summary: 'Every access group',
      access: 'admin',
      input: z.object({}),
      output: z.array(shown),
      handle: () => groups.list(),
    }),
    route({
      ...ONE,
      method: 'GET',
      tag,
      summary: 'An access group and who has it',
      access: 'admin',
      input: id,
      output: shown,
      handle: ({ input }) => groups.info(input.access_group_id),
    }),
    route({
      ...ONE,
      method: 'PUT',
      tag,
      summary: 'Change an access group, or who has it; what is not named stays',
      access: 'admin',
      input: fields.extend(id.shape),
      output: shown,
      handle: ({ input: { access_group_id, ...changes }, ...call }) => groups.update(access_group_id, changes, writerOf(call)),
    }),
    route({
      ...ONE,
      method: 'DELETE',
      tag,
      summary: 'Delete an access group; who had models by it alone has none',
      access: 'admin',
      input: id,
      output: z.null(),
      handle: async (call) => {
        await groups.remove(call.input.access_group_id, writerOf(call))
        return new Response(null, { status: 204 })
      },
    }),
  ]
}

const modelGroup = z.object({ access_group: z.string(), model_names: list(), deployment_count: z.number() })

/** /access_group: names under `model_info.access_groups` of the configured models, which keys may list instead of the models. */
export function modelAccessGroupRoutes(runtime: Runtime): Route[] {
  const tag = 'models'
  const named = (group: string): z.infer<typeof modelGroup> => {
    const deployments = runtime.deployments.filter((deployment) => deployment.accessGroups.includes(group))
    const names = new Set(deployments.map((deployment) => deployment.modelGroup))
    return { access_group: group, model_names: [...names].sort(), deployment_count: deployments.length }
  }
  const refuse = (): never => {
    throw new GatewayError(
      'bad_request',
      'Models come from the configuration file, and so do their access groups: set model_info.access_groups of the models there.',
      { type: 'bad_request_error', param: 'access_group' },
    )
  }
  const writes = [
    ['POST', '/access_group/new', 'Put models into a group'],
    ['PUT', '/access_group/{access_group}/update', 'Change which models are in a group'],
    ['DELETE', '/access_group/{access_group}/delete', 'Take a group from all its models'],
  ] as const
  return [
    route({
      method: 'GET',
      path: '/access_group/list',
      tag,
      summary: 'The access groups of the configured models',
      access: 'admin',
      input: z.object({}),
      output: z.object({ access_groups: z.array(modelGroup) }),
      handle: () => ({
        access_groups: [...new Set(runtime.deployments.flatMap((deployment) => deployment.accessGroups))].sort().map(named),
      }),
    }),
    route({
      method: 'GET',
      path: '/access_group/{access_group}/info',
      tag,
      summary: 'The models of an access group',
      access: 'admin',
      input: z.object({ access_group: z.string() }),
      output: modelGroup,
      handle({ input }) {
        const group = named(input.access_group)
        if (group.deployment_count === 0) {
          throw new GatewayError('not_found', `Access group '${input.access_group}' not found`, { param: 'access_group' })
        }
        return group
      },
    }),
    ...writes.map(([method, path, summary]) =>
      route({
        method,
        path,
        tag,
        summary: `${summary}: refused, because models come from the configuration file`,
        access: 'admin',
        input: z.object({ access_group: z.string().optional(), model_names: list().nullish() }),
        output: z.object({}),
        handle: refuse,
      }),
    ),
  ]
}
