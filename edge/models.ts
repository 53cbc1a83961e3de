import type { Deployment, RuntimeSnapshot } from '../proto/deployment.ts'
import type { Identity } from '../proto/identity.ts'
import { GatewayError } from '../shared/errors.ts'
import { mayCall, mayUse } from '../shared/model-access.ts'
import { answerError, answerJson } from './answer.ts'
import type { Exchange } from './exchange.ts'

/** One entry of the list (surface reference §1.1); creation time and owner are constants there too. */
export interface ModelEntry {
  id: string
  object: 'model'
  created: number
  owned_by: string
}

const CREATED = 1_677_610_602
const OWNER = 'openai'

/**
 * The models an identity may use: model groups and aliases, sorted as configured. A wildcard is listed as the models it stands for, as itself
 * where none is known, and beside them with `wildcards`. `groups` adds the names of access groups, or leaves only those.
 */
export function listModels(
  runtime: RuntimeSnapshot,
  identity: Identity,
  groups: 'none' | 'also' | 'only' = 'none',
  wildcards = false,
): ModelEntry[] {
  const names = new Set<string>()
  const byGroup = new Map<string, Deployment[]>()
  // A team's own deployments are there for that team alone, under the name it knows.
  const listed = runtime.deployments.filter(
    ({ hidden, team }) => hidden !== true && (team === undefined || team.id === identity.teamId),
  )
  for (const deployment of listed) {
    const name = deployment.team?.publicName ?? deployment.modelGroup
    byGroup.set(name, [...(byGroup.get(name) ?? []), deployment])
  }
  if (groups !== 'only') {
    for (const [name, deployments] of byGroup) {
      const stands = runtime.expansions?.[name] ?? []
      if ((stands.length === 0 || wildcards) && mayCall(identity, [name], deployments)) names.add(name)
      for (const one of stands) if (mayCall(identity, [one, name], deployments)) names.add(one)
    }
    for (const [alias, target] of Object.entries(runtime.settings.modelGroupAlias)) {
      if (runtime.settings.hiddenAliases?.includes(alias) === true) continue
      const deployments = byGroup.get(target)
      if (deployments === undefined) continue
      if (mayCall(identity, [alias, target], deployments)) names.add(alias)
    }
  }
  if (groups !== 'none') {
    for (const deployment of listed) {
      for (const group of deployment.accessGroups) if (mayUse(identity, group)) names.add(group)
    }
  }
  return [...names].map(entry)
}

/** GET /v1/models */
export function answerModels(exchange: Exchange, runtime: RuntimeSnapshot, identity: Identity): void {
  const query = new URLSearchParams(exchange.query)
  const only = query.get('only_model_access_groups')?.toLowerCase() === 'true'
  const also = query.get('include_model_access_groups')?.toLowerCase() === 'true'
  const wildcards = query.get('return_wildcard_routes')?.toLowerCase() === 'true'
  const data = listModels(runtime, identity, only ? 'only' : also ? 'also' : 'none', wildcards)
  answerJson(exchange, 200, { data, object: 'list' })
}

/** GET /v1/models/{id}; the id may hold slashes. A name that a listed wildcard covers exists. */
export function answerModel(exchange: Exchange, runtime: RuntimeSnapshot, identity: Identity, id: string): void {
  const known = listModels(runtime, identity, 'none', true).some(
    (model) => model.id === id || (model.id.includes('*') && covers(model.id, id)),
  )
  if (known) answerJson(exchange, 200, entry(id))
  else answerError(exchange, new GatewayError('not_found', `The model '${id}' does not exist or this key may not use it.`))
}

function covers(pattern: string, id: string): boolean {
  return mayUse({ models: [pattern] }, id)
}

function entry(id: string): ModelEntry {
  return { id, object: 'model', created: CREATED, owned_by: OWNER }
}
