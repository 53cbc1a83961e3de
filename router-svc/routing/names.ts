import type { Deployment } from '../../proto/deployment.ts'
import type { Resolution, Route } from '../runtime.ts'

/** What the names of a runtime stand for. */
export interface Names {
  /** Routes of deployments whose name holds no wildcard. */
  readonly routes: readonly Route[]
  /** The deployment with this id alone; those of other teams are not found. */
  byId(id: string, teamId: string | null): Resolution | null
  /** Group, wildcard or upstream name, a team's own before everybody's (surface reference §5.1). */
  find(name: string, teamId: string | null): Resolution | null
}

interface Pattern {
  name: string
  expression: RegExp
  deployments: readonly Deployment[]
}

/** The names of one audience: everybody, or one team. */
interface Table {
  exact: Map<string, Resolution>
  byUpstream: Map<string, Resolution>
  patterns: Pattern[]
  /** Filled wildcards kept, so that `openai/*` costs one regular expression per new model name, not per call. */
  filled: Map<string, Resolution | null>
  /** Routes of all of them. */
  filledRoutes: number
}

type MakeRoute = (deployment: Deployment, model: string) => Route

const WILDCARD_CACHE = 1_000
/** A kilobyte each: names are made up by clients, and a pattern may have a thousand deployments. */
const WILDCARD_ROUTES = 20_000

/**
 * Indexes deployments by every name they go by. A team's deployment is known to that team alone: under its public name, where it then
 * stands before a group of everybody's, and under its group's, where it stands beside it.
 */
export function compileNames(deployments: readonly Deployment[], makeRoute: MakeRoute): Names {
  const routes: Route[] = []
  const made = new Map<Deployment, Route>()
  for (const deployment of deployments) {
    if (isPattern(deployment.team?.publicName ?? deployment.modelGroup)) continue
    const route = makeRoute(deployment, deployment.model)
    routes.push(route)
    made.set(deployment, route)
  }
  const open = deployments.filter(({ team }) => team === undefined)
  const everybody = tableOf(
    groupBy(open, ({ modelGroup }) => modelGroup),
    made,
  )
  const teams = new Map<string, Table>()
  for (const [id, own] of groupBy(
    deployments.filter(({ team }) => team !== undefined),
    ({ team }) => team?.id as string,
  )) {
    teams.set(id, tableOf(teamGroups(own, open), made))
  }
  const ids = new Map<string, Resolution>()
  for (const route of routes) ids.set(route.deployment.id, resolution(nameOf(route.deployment), [route]))

  return {
    routes,
    byId(id, teamId) {
      const found = ids.get(id)
      if (found === undefined) return null
      const { team } = (found.routes[0] as Route).deployment
      return team === undefined || team.id === teamId ? found : null
    },
    find(name, teamId) {
      const team = teamId === null ? undefined : teams.get(teamId)
      if (team === undefined)
        return everybody.exact.get(name) ?? wildcard(everybody, name, makeRoute) ?? upstream(everybody, name)
      return (
        team.exact.get(name) ??
        everybody.exact.get(name) ??
        wildcard(team, name, makeRoute) ??
        wildcard(everybody, name, makeRoute) ??
        upstream(team, name) ??
        upstream(everybody, name)
      )
    },
  }
}

/** Routes with what access rules see of them. */
export function resolution(group: string, routes: readonly Route[]): Resolution {
  return {
    group,
    routes,
    served: routes.map(({ deployment, model }) => ({
      provider: deployment.provider,
      model,
      accessGroups: deployment.accessGroups,
    })),
  }
}

/** A team's groups by name: its public ones, and everybody's with what the team adds to them. */
function teamGroups(own: readonly Deployment[], open: readonly Deployment[]): Map<string, Deployment[]> {
  const groups = groupBy(own, nameOf)
  for (const [name, deployments] of groups) {
    if (deployments.every(({ team }) => team?.publicName == null))
      groups.set(name, [...open.filter(({ modelGroup }) => modelGroup === name), ...deployments])
  }
  // The internal name of a team's model works for the team too.
  for (const [name, deployments] of groupBy(own, ({ modelGroup }) => modelGroup)) {
    if (!groups.has(name)) groups.set(name, deployments)
  }
  return groups
}

function nameOf({ team, modelGroup }: Deployment): string {
  return team?.publicName ?? modelGroup
}

function tableOf(groups: ReadonlyMap<string, readonly Deployment[]>, made: ReadonlyMap<Deployment, Route>): Table {
  const table: Table = { exact: new Map(), byUpstream: new Map(), patterns: [], filled: new Map(), filledRoutes: 0 }
  for (const [group, deployments] of groups) {
    if (isPattern(group)) {
      table.patterns.push({ name: group, expression: expressionOf(group), deployments })
      continue
    }
    const routes = deployments.flatMap((deployment) => made.get(deployment) ?? [])
    if (routes.length === 0) continue
    table.exact.set(group, resolution(group, routes))
    for (const route of routes) {
      const name = `${route.deployment.provider}/${route.deployment.model}`
      if (!table.byUpstream.has(name)) table.byUpstream.set(name, resolution(group, [route]))
    }
  }
  table.patterns.sort((a, b) => b.name.length - a.name.length || specials(b.name) - specials(a.name))
  return table
}

function wildcard(table: Table, name: string, makeRoute: MakeRoute): Resolution | null {
  if (table.patterns.length === 0) return null
  let found = table.filled.get(name)
  if (found !== undefined) return found
  found = null
  for (const pattern of table.patterns) {
    const match = pattern.expression.exec(name)
    if (match === null) continue
    const captured = match.slice(1)
    found = resolution(
      pattern.name,
      pattern.deployments.map((deployment) => makeRoute(deployment, fill(deployment.model, captured, name))),
    )
    break
  }
  const routes = found?.routes.length ?? 0
  if (table.filled.size >= WILDCARD_CACHE || table.filledRoutes + routes > WILDCARD_ROUTES) {
    table.filled.clear()
    table.filledRoutes = 0
  }
  table.filled.set(name, found)
  table.filledRoutes += routes
  return found
}

function upstream(table: Table, name: string): Resolution | null {
  return table.byUpstream.get(name) ?? null
}

function isPattern(name: string): boolean {
  return name.includes('*')
}

function expressionOf(pattern: string): RegExp {
  return new RegExp(
    `^${pattern
      .split('*')
      .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
      .join('(.*)')}$`,
    's',
  )
}

/** Fills the `*` of an upstream name, in order, with what the group's wildcards matched. `*` alone takes the name as given. */
function fill(model: string, captured: string[], requested: string): string {
  if (model === '*' && captured.length === 0) return requested
  let index = 0
  return model.replace(/\*/g, () => captured[index++] ?? requested)
}

/** Of two patterns of one length LiteLLM tries the one with more pattern characters first. */
function specials(pattern: string): number {
  return pattern.replace(/[^*+?\\^$|()]/g, '').length
}

function groupBy<Item>(items: readonly Item[], nameOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>()
  for (const item of items) {
    const name = nameOf(item)
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [item])
    else group.push(item)
  }
  return groups
}
