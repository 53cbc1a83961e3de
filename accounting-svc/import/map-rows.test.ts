import { describe, expect, it } from 'vitest'
import { hashKey } from '../../shared/config/secrets.ts'
import { SOURCE_TABLES, type SourceName, type SourceRow, type SourceRows } from '../sql/import-source.ts'
import type { Candidate } from './candidate.ts'
import { type Mapped, mapRows } from './map-rows.ts'

const NOW = Date.parse('2026-03-10T12:00:00Z')
const HASH = hashKey('sk-one')

type Given = { [Name in SourceName]?: Partial<SourceRow<Name>>[] }

/** Rows of a database in which what is not said is null. */
function rowsOf(given: Given): SourceRows {
  const names = Object.keys(SOURCE_TABLES) as SourceName[]
  return Object.fromEntries(
    names.map((name) => {
      const blank = Object.fromEntries(Object.keys(SOURCE_TABLES[name].columns).map((column) => [column, null]))
      return [name, (given[name] ?? []).map((row) => ({ ...blank, ...row }))]
    }),
  ) as unknown as SourceRows
}

const map = (given: Given): Mapped => mapRows(rowsOf(given), NOW)
const of = (mapped: Mapped, table: string): Candidate[] => mapped.candidates.filter((candidate) => candidate.table === table)

describe('keys', () => {
  it('need what limits them, and count for those around them', () => {
    const [key] = of(
      map({
        teams: [{ team_id: 't', organization_id: 'o' }],
        keys: [{ token: HASH, team_id: 't', user_id: 'u', project_id: 'p', budget_id: 'b', spend: '1.5' }],
      }),
      'keys',
    )
    expect(key?.needs).toEqual([
      { table: 'users', id: 'u' },
      { table: 'teams', id: 't' },
      { table: 'projects', id: 'p' },
      { table: 'budgets', id: 'b' },
    ])
    expect(key?.owner).toMatchObject({ spend: 1_500_000_000, userId: 'u', teamId: 't', organizationId: 'o', projectId: 'p' })
  })

  it('of an old database have everything that it lacks by default', () => {
    const [key] = of(map({ keys: [{ token: HASH }] }), 'keys')
    expect(key?.row).toMatchObject({
      key_name: 'sk-...',
      models: [],
      aliases: {},
      budget_limits: null,
      auto_rotate: false,
      rotation_count: 0,
      created_at: '2026-03-10T12:00:00.000Z',
    })
    expect(Object.values(key?.row ?? {})).not.toContain(undefined)
  })

  it.each([
    ['sk-...ab12', 'sk-...ab12'],
    ['sk-0123456789abcdef', 'sk-...'],
    ['', 'sk-...'],
  ])('never show more of the key than its ends: %s', (stored, name) => {
    expect(of(map({ keys: [{ token: HASH, key_name: stored }] }), 'keys')[0]?.row['key_name']).toBe(name)
  })

  it('whose token is no hash are left out without saying it', () => {
    const { candidates, skipped } = map({ keys: [{ token: 'sk-secret' }], jwtMappings: [{ id: 'j', token: 'sk-secret' }] })
    expect(candidates).toEqual([])
    expect(skipped).toHaveLength(2)
    expect(JSON.stringify(skipped)).not.toContain('secret')
  })

  it('take the time their window closes from their budget row where they have none of their own', () => {
    const budgets = [{ budget_id: 'b', budget_duration: '7d', budget_reset_at: NOW + 5 }]
    const [own, linked] = of(
      map({
        budgets,
        keys: [
          { token: HASH, budget_id: 'b', budget_reset_at: NOW + 1, budget_duration: '1d', created_at: 1 },
          { token: hashKey('sk-two'), budget_id: 'b', created_at: 2 },
        ],
      }),
      'keys',
    )
    expect(own?.owner?.window).toMatchObject({ duration: '1d', resetAt: NOW + 1 })
    expect(linked?.owner?.window).toMatchObject({ duration: null, budgetId: 'b', resetAt: NOW + 5 })
  })
})

describe('members', () => {
  const listed = (entries: unknown, more: Partial<SourceRow<'teams'>> = {}) => ({
    team_id: 't',
    members_with_roles: entries,
    ...more,
  })

  it('are each once, with the role said first', () => {
    const mapped = map({
      users: [{ user_id: 'u' }],
      teams: [
        listed(
          [
            { user_id: 'u', role: 'admin' },
            { user_id: 'u', role: 'user' },
          ],
          { members: ['u'], admins: ['u'] },
        ),
      ],
    })
    expect(of(mapped, 'team_members').map(({ row }) => [row['user_id'], row['role']])).toEqual([['u', 'admin']])
  })

  it('named by an address that two users have are nobody', () => {
    const users = [
      { user_id: 'a', user_email: 'x@y.z' },
      { user_id: 'b', user_email: 'X@y.z' },
    ]
    const mapped = map({ users, teams: [listed([{ user_email: 'x@y.z', role: 'admin' }])] })
    expect(of(mapped, 'team_members')).toEqual([])
    expect(mapped.skipped).toEqual([{ table: 'team_members', id: 't:x@y.z', reason: 'no one user has its user_email' }])
  })

  it('linked to the default of their team have no budget of their own here', () => {
    const team = listed([{ user_id: 'a' }, { user_id: 'b' }], { metadata: { team_member_budget_id: 'default', note: 1 } })
    const mapped = map({
      budgets: [{ budget_id: 'own', allowed_models: ['m'] }],
      teams: [team],
      teamMembers: [
        { team_id: 't', user_id: 'a', budget_id: 'default', spend: '1' },
        { team_id: 't', user_id: 'b', budget_id: 'own', spend: '2' },
      ],
    })
    expect(of(mapped, 'teams')[0]?.row).toMatchObject({ team_member_budget_id: 'default', metadata: { note: 1 } })
    expect(of(mapped, 'team_members').map(({ row, owner }) => [row['budget_id'], row['allowed_models'], owner?.spend])).toEqual([
      [null, [], 1e9],
      ['own', ['m'], 2e9],
    ])
  })

  it('without a row as users get one of nothing but the id, and what they spent is not known', () => {
    const mapped = map({ teams: [listed([{ user_id: 'ghost', user_email: 'g@h.i' }])] })
    expect(of(mapped, 'users')[0]).toMatchObject({ filler: true, owner: null, row: { user_id: 'ghost', user_email: 'g@h.i' } })
    expect(of(mapped, 'team_members')[0]?.owner?.spend).toBeNull()
    expect(mapped.notes.join()).toContain('1 members of teams have no row as users')
  })
})

it('comes in the order in which rows can be written', () => {
  const { candidates } = map({
    keys: [{ token: HASH }],
    tags: [{ tag_name: 'x' }],
    teams: [{ team_id: 't', members: ['u'] }],
    budgets: [{ budget_id: 'b' }],
  })
  expect(candidates.map(({ table }) => table)).toEqual(['budgets', 'users', 'teams', 'team_members', 'tags', 'keys'])
})

it('takes the total that LiteLLM keeps as a user for that of everybody', () => {
  const mapped = map({ users: [{ user_id: 'litellm-proxy-budget', spend: '7' }] })
  expect(mapped.candidates).toEqual([])
  expect(mapped.proxy).toMatchObject({ kind: 'proxy', scope: 'proxy', spend: 7e9 })
})

it('leaves projects of no team out', () => {
  expect(map({ projects: [{ project_id: 'p' }] }).skipped).toEqual([{ table: 'projects', id: 'p', reason: 'it is of no team' }])
})
