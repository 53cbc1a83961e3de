import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { scopes } from '../../proto/limits.ts'
import { sumEntries } from '../ledger/rollup.ts'
import { scopesOf } from '../ledger/scopes.ts'
import type { EntryRow } from '../sql/ledger.ts'
import { type Owner, soleOwner } from './candidate.ts'
import { openingEntries } from './openings.ts'

const IDS = ['a', 'b|1', 'c%', 'd'] as const
const id = fc.constantFrom(...IDS)
const maybe = fc.option(id)
/** Up to $4 million each, so that together they pass what a number counts; negative too: corrections have been seen. */
const spend = fc.oneof(fc.constant(0), fc.integer({ min: -5, max: 5 }), fc.integer({ min: -1e9, max: 4e15 }))

/** Any ownership: keys of nobody, of users without a row, of teams whose organization is not theirs, members of teams without keys. */
const graph = fc.record({
  keys: fc.array(fc.record({ user: maybe, team: maybe, organization: maybe, project: maybe, spend }), { maxLength: 12 }),
  members: fc.uniqueArray(fc.record({ team: id, user: id, organization: maybe, spend: fc.option(spend) }), {
    maxLength: 8,
    selector: ({ team, user }) => `${team} ${user}`,
  }),
  projects: fc.uniqueArray(fc.record({ id, team: id, organization: maybe, spend }), { selector: (row) => row.id }),
  teams: fc.uniqueArray(fc.record({ id, organization: maybe, spend }), { selector: (row) => row.id }),
  organizations: fc.uniqueArray(fc.record({ id, spend }), { selector: (row) => row.id }),
  users: fc.uniqueArray(fc.record({ id, spend }), { selector: (row) => row.id }),
  customers: fc.uniqueArray(fc.record({ id, spend }), { selector: (row) => row.id }),
  tags: fc.uniqueArray(fc.record({ id, spend }), { selector: (row) => row.id }),
  organizationMembers: fc.uniqueArray(fc.record({ organization: id, user: id, spend }), {
    selector: ({ organization, user }) => `${organization} ${user}`,
  }),
})
type Graph = typeof graph extends fc.Arbitrary<infer Value> ? Value : never

function ownersOf(it: Graph): Owner[] {
  const keys = it.keys.map((key, index) => ({
    ...soleOwner('key', scopes.key(index.toString(16).padStart(64, '0')), key.spend),
    userId: key.user,
    teamId: key.team,
    organizationId: key.organization,
    projectId: key.project,
  }))
  const members = it.members.map(({ team, user, organization, spend: spent }) => ({
    ...soleOwner('team_member', scopes.teamMember(team, user), spent),
    teamId: team,
    userId: user,
    organizationId: organization,
  }))
  return [
    ...it.tags.map((row) => soleOwner('tag', scopes.tag(row.id), row.spend)),
    ...it.users.map((row) => ({ ...soleOwner('user', scopes.user(row.id), row.spend), userId: row.id })),
    ...it.organizations.map((row) => ({
      ...soleOwner('organization', scopes.organization(row.id), row.spend),
      organizationId: row.id,
    })),
    ...it.teams.map((row) => ({
      ...soleOwner('team', scopes.team(row.id), row.spend),
      teamId: row.id,
      organizationId: row.organization,
    })),
    ...it.projects.map((row) => ({
      ...soleOwner('project', scopes.project(row.id), row.spend),
      projectId: row.id,
      teamId: row.team,
      organizationId: row.organization,
    })),
    ...it.customers.map((row) => soleOwner('customer', scopes.customer(row.id), row.spend)),
    ...it.organizationMembers.map((row) =>
      soleOwner('organization_member', scopes.organizationMember(row.organization, row.user), row.spend),
    ),
    ...members,
    ...keys,
  ]
}

function sums(entries: readonly EntryRow[]): Map<string, bigint> {
  const found = new Map<string, bigint>()
  for (const entry of entries) {
    for (const scope of scopesOf(entry)) found.set(scope, (found.get(scope) ?? 0n) + BigInt(entry.cost))
  }
  return found
}

const total = (entries: readonly EntryRow[]) => entries.reduce((sum, { cost }) => sum + BigInt(cost), 0n)
const keysOf = (owners: readonly Owner[]) =>
  owners.filter(({ kind }) => kind === 'key').reduce((sum, { spend: spent }) => sum + BigInt(spent ?? 0), 0n)

describe('opening balances', () => {
  it('add up to the total of every owner, whoever owns whom and whatever the totals are', () => {
    fc.assert(
      fc.property(graph, (it) => {
        const owners = ownersOf(it)
        const entries = openingEntries(owners, 'run', 0)
        const found = sums(entries)
        for (const owner of owners) {
          if (owner.spend !== null)
            expect([owner.scope, found.get(owner.scope) ?? 0n]).toEqual([owner.scope, BigInt(owner.spend)])
        }
      }),
      { numRuns: 300 },
    )
  })

  it('add up to what keys have spent, so that nothing is in the whole twice', () => {
    fc.assert(
      fc.property(graph, (it) => {
        const owners = ownersOf(it)
        const entries = openingEntries(owners, 'run', 0)
        expect(total(entries)).toBe(keysOf(owners))
        expect(total(entries.filter(({ keyHash }) => keyHash === ''))).toBe(0n)
      }),
    )
  })

  it('count for no owner who is not opened with them, but for members by the keys that are theirs', () => {
    fc.assert(
      fc.property(graph, (it) => {
        const owners = ownersOf(it)
        const opened = new Set(owners.map(({ scope }) => scope))
        const found = [...sums(openingEntries(owners, 'run', 0)).keys()].filter((scope) => scope !== 'key|')
        expect(found.filter((scope) => !opened.has(scope) && !scope.startsWith('team_member|'))).toEqual([])
      }),
    )
  })

  it('come out right when owners are imported one part after the other', () => {
    fc.assert(
      fc.property(graph, fc.integer({ min: 0, max: 40 }), (it, cut) => {
        const owners = ownersOf(it)
        const [first, second] = [owners.slice(cut), owners.slice(0, cut)]
        const earlier = openingEntries(first, 'one', 0)
        const later = openingEntries(second, 'two', 1, sums(earlier))
        const found = sums([...earlier, ...later])
        for (const { scope, spend: spent, kind } of owners) {
          // What keys of a member bring after its own balance was opened comes on top of it, as a call would.
          if (spent === null || (kind === 'team_member' && first.some((owner) => owner.scope === scope))) continue
          expect([scope, found.get(scope) ?? 0n]).toEqual([scope, BigInt(spent)])
        }
      }),
      { numRuns: 300 },
    )
  })

  it('are entries of no calls with ids of their own, and none where there is nothing to open', () => {
    fc.assert(
      fc.property(graph, (it) => {
        const entries = openingEntries(ownersOf(it), 'run', 0)
        expect(new Set(entries.map(({ callId, attempt }) => `${attempt} ${callId}`)).size).toBe(entries.length)
        expect(entries.every(({ cost }) => Number.isSafeInteger(cost))).toBe(true)
        for (const entry of entries) expect(entry).toMatchObject({ entry: 'opening', calls: 0, inputTokens: 0, outputTokens: 0 })
        expect(entries.some(({ cost }) => cost === 0)).toBe(false)
        expect(sumEntries(entries).scopes).not.toContain('key|')
      }),
    )
  })

  it('take from a team what its window has forgotten and its keys have not', () => {
    const owners: Owner[] = [
      { ...soleOwner('key', scopes.key('f'.repeat(64)), 100), teamId: 't', userId: 'u' },
      { ...soleOwner('team', scopes.team('t'), 10), teamId: 't' },
      { ...soleOwner('user', scopes.user('u'), 130), userId: 'u' },
    ]
    const entries = openingEntries(owners, 'run', 0)
    expect(entries.map(({ keyHash, teamId, userId, cost }) => [keyHash.slice(0, 1), teamId, userId, cost])).toEqual([
      ['f', 't', 'u', 100],
      ['', 't', null, -90],
      ['', null, 'u', 30],
      ['', null, null, 60],
    ])
  })
})
