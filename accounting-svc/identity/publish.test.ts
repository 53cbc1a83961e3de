import { describe, expect, it } from 'vitest'
import { requireAccess, roleOf, routeAllowed } from './access.ts'
import { masterIdentity, modelsOf } from './publish.ts'

describe('modelsOf', () => {
  it.each<[string, string[], string[] | null, string[] | null, string[]]>([
    ['everything when nobody says anything', [], null, null, []],
    ['what the key says', ['a'], null, null, ['a']],
    ['everything when the key says so', ['all-proxy-models'], null, null, []],
    ['what the team says when the key defers to it', ['all-team-models'], ['a', 'b'], null, ['a', 'b']],
    ['what the team says when the key says nothing', [], ['a'], null, ['a']],
    ['what both say', ['a', 'b'], ['b', 'c'], null, ['b']],
    ['what the key names under a wildcard of the team', ['openai/gpt-4o', 'x'], ['openai/*'], null, ['openai/gpt-4o']],
    ['what the team names under a wildcard of the key', ['openai/*'], ['openai/gpt-4o', 'x'], null, ['openai/gpt-4o']],
    ['nothing when they have nothing in common', ['a'], ['b'], null, ['no-default-models']],
    ['what the user may, without a team', [], null, ['a'], ['a']],
    ['what the team may rather than the user', [], ['t'], ['u'], ['t']],
  ])('allows %s', (_, own, team, user, expected) => {
    expect(modelsOf(own, [team ?? user ?? []])).toEqual(expected)
  })

  const served = [
    { modelGroup: 'gpt-4o', model: 'gpt-4o', provider: 'openai', accessGroups: ['beta'] },
    { modelGroup: 'claude', model: 'claude-4', provider: 'anthropic', accessGroups: ['beta', 'vip'] },
    { modelGroup: 'mine', model: 'gpt-4o', provider: 'openai', accessGroups: [] },
  ]
  it.each<[string, string[], string[][], string[]]>([
    ['a model that the team names by its access group', ['gpt-4o', 'mine'], [['beta']], ['gpt-4o']],
    ['what the team names of an access group of the key', ['beta'], [['gpt-4o', 'mine']], ['gpt-4o']],
    ['what two access groups have in common', ['beta'], [['vip']], ['claude']],
    ['a model under the wildcard of its provider, but no other name for it', ['gpt-4o', 'mine'], [['openai/*']], ['gpt-4o']],
    ['what all of many allow', [], [['beta'], ['*'], ['claude', 'mine']], ['claude']],
    ['nothing once nothing is left', ['mine'], [['beta'], []], ['no-default-models']],
  ])('knows what is served: it allows %s', (_, own, parents, expected) => {
    expect(modelsOf(own, parents, served)).toEqual(expected)
  })
})

describe('routeAllowed', () => {
  it.each<[string[], string, boolean]>([
    [[], '/key/info', true],
    [['/key/info'], '/key/info', true],
    [['/key/info'], '/key/information', false],
    [['/key'], '/key/info', true],
    [['/key/*'], '/key/list', true],
    [['info_routes'], '/model/info', true],
    [['info_routes'], '/key/generate', false],
    [['management_routes'], '/key/generate', true],
    [['llm_api_routes'], '/key/info', false],
    [['global_spend_tracking_routes'], '/global/spend/report', true],
  ])('with %j lets %s be called: %s', (routes, path, expected) => {
    expect(routeAllowed(routes, path)).toBe(expected)
  })
})

describe('requireAccess', () => {
  const someone = (fields: object) => ({ ...masterIdentity(), role: 'internal_user' as const, ...fields })

  it('lets an admin do everything, whatever routes its key lists', () => {
    expect(() => requireAccess(masterIdentity(), 'admin', 'POST', '/key/block')).not.toThrow()
  })

  it('lets viewers read and write nothing', () => {
    const viewer = someone({ role: 'proxy_admin_viewer' })
    expect(() => requireAccess(viewer, 'admin', 'GET', '/global/spend/report')).not.toThrow()
    expect(() => requireAccess(viewer, 'admin', 'POST', '/key/block')).toThrow(
      expect.objectContaining({ code: 'admin_only', status: 401 }),
    )
    expect(() => requireAccess(viewer, 'write', 'POST', '/key/generate')).toThrow(expect.objectContaining({ code: 'admin_only' }))
  })

  it('names the route, the role and a masked user id when only an admin may', () => {
    expect(() => requireAccess(someone({ userId: 'somebody' }), 'admin', 'POST', '/key/block')).toThrow(
      /Only proxy admin can be used .* Route=\/key\/block\. Your role=internal_user\. Your user_id=so\*\*\*\*dy$/,
    )
  })

  it('refuses a route the key does not list before anything else', () => {
    expect(() => requireAccess(someone({ allowedRoutes: ['llm_api_routes'] }), 'key', 'GET', '/key/info')).toThrow(
      expect.objectContaining({ code: 'route_denied', status: 403, type: 'auth_error' }),
    )
  })
})

it('takes an unknown or missing role for an internal user, never for an admin', () => {
  expect(['proxy_admin', 'PROXY_ADMIN', '', null, undefined].map(roleOf)).toEqual([
    'proxy_admin',
    'internal_user',
    'internal_user',
    'internal_user',
    'internal_user',
  ])
})
