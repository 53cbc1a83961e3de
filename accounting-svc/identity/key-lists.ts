import type { Identity } from '../../proto/identity.ts'
import type { Database } from '../../shared/db/db.ts'
import {
  type KeyFilter,
  type KeyView,
  type KeyVisibility,
  listAliases,
  listDeletedKeys,
  listKeys,
  namesOfUsers,
} from '../sql/keys.ts'
import { type Memberships, membershipsOf } from '../sql/memberships.ts'
import { memberMay, readsAll } from './access.ts'
import { keyInfo, tokenOf } from './key-fields.ts'

export interface KeyLists {
  list(query: KeyListQuery, actor: Identity): Promise<Record<string, unknown>>
  aliases(query: KeyAliasQuery, actor: Identity): Promise<Record<string, unknown>>
}

interface Page {
  page: number
  size: number
}

export interface KeyAliasQuery extends Page {
  search?: string | undefined
  teamId?: string | undefined
}

export interface KeyListQuery extends Page {
  userId?: string | undefined
  teamId?: string | undefined
  organizationId?: string | undefined
  projectId?: string | undefined
  agentId?: string | undefined
  accessGroupId?: string | undefined
  keyHash?: string | undefined
  keyAlias?: string | undefined
  /** `never`, or a time up to which keys expire. */
  expires?: Date | 'never' | undefined
  substring: boolean
  full: boolean
  /** Also keys of teams that the user (asked for, else the caller) runs, and those they made. */
  includeTeamKeys?: boolean | undefined
  includeCreatedByKeys?: boolean | undefined
  /** Each key with its user beside it. */
  expandUser?: boolean | undefined
  deleted?: boolean | undefined
  sortBy?: string | undefined
  descending: boolean
}

/** Keys a page at a time, each caller seeing theirs. */
export function createKeyLists(db: Database): KeyLists {
  async function filterOf(query: KeyListQuery, actor: Identity): Promise<KeyFilter> {
    const filter: KeyFilter = { substring: query.substring }
    const set = <Name extends keyof KeyFilter>(name: Name, value: KeyFilter[Name] | undefined): void => {
      if (value !== undefined) filter[name] = value
    }
    set('teamId', query.teamId)
    set('organizationId', query.organizationId)
    set('projectId', query.projectId)
    set('agentId', query.agentId)
    set('accessGroupId', query.accessGroupId)
    set('token', query.keyHash === undefined ? undefined : tokenOf(query.keyHash))
    set('alias', query.keyAlias)
    set('expires', query.expires)
    const { userId } = query
    if (userId !== undefined && (query.includeTeamKeys === true || query.includeCreatedByKeys === true)) {
      filter.among = visibility(userId, '', await membershipsOf(db, userId), {
        teams: query.includeTeamKeys === true,
        made: query.includeCreatedByKeys === true,
      })
    } else set('userId', userId)
    if (!readsAll(actor)) {
      filter.visible = visibility(actor.userId, actor.keyHash, await membershipsOf(db, actor.userId), {
        teams: query.includeTeamKeys === true || query.teamId !== undefined || query.organizationId !== undefined,
        made: query.includeCreatedByKeys === true,
      })
    }
    return filter
  }

  async function deleted(query: KeyListQuery, actor: Identity): Promise<Record<string, unknown>> {
    const filter: Parameters<typeof listDeletedKeys>[1] = {}
    const userId = readsAll(actor) ? query.userId : (actor.userId ?? '')
    if (userId !== undefined) filter.userId = userId
    if (query.teamId !== undefined) filter.teamId = query.teamId
    if (query.organizationId !== undefined) filter.organizationId = query.organizationId
    if (query.keyAlias !== undefined) filter.alias = query.keyAlias
    if (query.keyHash !== undefined) filter.token = tokenOf(query.keyHash)
    const { rows, total } = await listDeletedKeys(db, filter, pageOf(query))
    const keys = rows.map(({ row, ...rest }) => (query.full ? { ...row, ...rest } : rest.token))
    return { keys, ...counts(total, query) }
  }

  return {
    async list(query, actor) {
      if (query.deleted === true) return deleted(query, actor)
      const { rows, total } = await listKeys(db, await filterOf(query, actor), {
        ...pageOf(query),
        sort: query.sortBy ?? 'created_at',
        descending: query.descending,
      })
      const users = query.expandUser === true ? await usersOf(rows) : null
      const keys = rows.map((row) => {
        if (users !== null) return { token: row.token, ...keyInfo(row), user: users.get(row.user_id ?? '') ?? null }
        return query.full ? { token: row.token, ...keyInfo(row) } : row.token
      })
      return { keys, ...counts(total, query) }
    },

    async aliases({ search, teamId, ...page }, actor) {
      const query = { ...page, keyAlias: search, teamId, substring: true, full: false, descending: false }
      const filter = await filterOf({ ...query, includeTeamKeys: true }, actor)
      const { aliases, total } = await listAliases(db, filter, pageOf(page))
      return { aliases, ...counts(total, page), size: page.size }
    },
  }

  async function usersOf(rows: readonly KeyView[]): Promise<Map<string, unknown>> {
    const ids = [...new Set(rows.flatMap((row) => (row.user_id === null ? [] : [row.user_id])))]
    return new Map((await namesOfUsers(db, ids)).map((user) => [user.user_id, user]))
  }
}

/** Keys of a user: their own, and where asked those of what they run and those they made. Pure. */
export function visibility(
  userId: string | null,
  token: string,
  memberships: Memberships,
  also: { teams: boolean; made: boolean },
): KeyVisibility {
  const teams = also.teams ? [...memberships.teams] : []
  const organizations = also.teams ? [...memberships.organizations] : []
  return {
    userId,
    token,
    createdBy: also.made ? userId : null,
    teams: teams.flatMap(([id, role]) => (role === 'admin' ? [id] : [])),
    organizations: organizations.flatMap(([id, role]) => (role === 'org_admin' ? [id] : [])),
    memberTeams: teams.flatMap(([id]) =>
      memberMay(memberships, id, '/key/info') || memberMay(memberships, id, '/key/list') ? [id] : [],
    ),
  }
}

function pageOf({ page, size }: Page): { limit: number; offset: number } {
  return { limit: size, offset: (page - 1) * size }
}

function counts(total: number, { page, size }: Page): Record<string, number> {
  return { total_count: total, current_page: page, total_pages: Math.ceil(total / size) }
}
