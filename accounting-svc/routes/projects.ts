import type { Projects } from '../identity/projects.ts'
import { writerOf } from '../identity/writer.ts'
import { budgetShape, budgetShown, limit, list, map } from './field-types.ts'
import { type Route, route, z } from './route.ts'

const id = () => z.string().min(1)
const perModel = () => z.record(z.string(), limit())

const fields = z.object({
  ...budgetShape,
  budget_id: z.string().nullish().describe('A budget row to share, instead of limits of its own'),
  project_alias: z.string().nullish(),
  description: z.string().nullish(),
  models: list().nullish(),
  metadata: map().nullish(),
  model_rpm_limit: perModel().nullish(),
  model_tpm_limit: perModel().nullish(),
  guardrails: list().nullish(),
  tags: list().nullish(),
  blocked: z.boolean().nullish(),
  object_permission: map().nullish(),
})

const shown = z.object({
  project_id: z.string(),
  project_alias: z.string().nullable(),
  description: z.string().nullable(),
  team_id: z.string(),
  organization_id: z.string().nullable(),
  budget_id: z.string().nullable(),
  metadata: map(),
  models: list(),
  model_rpm_limit: map().nullable(),
  model_tpm_limit: map().nullable(),
  blocked: z.boolean(),
  spend: z.number().describe('Dollars of the present window'),
  object_permission: map().nullable(),
  litellm_budget_table: budgetShown.nullable(),
  created_at: z.iso.datetime(),
  created_by: z.string().nullable(),
  updated_at: z.iso.datetime(),
  updated_by: z.string().nullable(),
})

/** /project/…: what is between a team and its keys. */
export function projectRoutes(projects: Projects): Route[] {
  const tag = 'project management'
  return [
    route({
      method: 'POST',
      path: '/project/new',
      tag,
      summary: 'Make a project of a team',
      access: 'key',
      input: fields.extend({ team_id: id(), project_id: z.string().nullish() }),
      output: shown,
      handle: (call) => projects.create(call.input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/project/update',
      tag,
      summary: 'Change a project; what is not named stays',
      access: 'key',
      input: fields.extend({ project_id: id(), team_id: z.string().nullish() }),
      output: shown,
      handle: (call) => projects.update(call.input, writerOf(call)),
    }),
    route({
      method: 'DELETE',
      path: '/project/delete',
      tag,
      summary: 'Delete projects with their keys',
      access: 'key',
      input: z.object({ project_ids: list().min(1, 'expected at least one id') }),
      output: z.array(shown),
      handle: (call) => projects.remove(call.input.project_ids, writerOf(call)),
    }),
    route({
      method: 'GET',
      path: '/project/info',
      tag,
      summary: 'A project',
      access: 'key',
      input: z.object({ project_id: id() }),
      output: shown,
      handle: ({ input, identity }) => projects.info(input.project_id, identity),
    }),
    route({
      method: 'GET',
      path: '/project/list',
      tag,
      summary: 'Every project of the teams the caller may look at',
      access: 'key',
      input: z.object({}),
      output: z.array(shown),
      handle: ({ identity }) => projects.list(identity),
    }),
  ]
}
