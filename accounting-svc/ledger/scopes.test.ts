import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { scopes } from '../../proto/limits.ts'
import { type EntryOwners, scopeName, scopesOf } from './scopes.ts'

const nobody: EntryOwners = {
  keyHash: 'k',
  userId: null,
  teamId: null,
  organizationId: null,
  projectId: null,
  endUser: null,
  tags: [],
  extraScopes: null,
}

describe('scopesOf', () => {
  it('names the key of a call that has nothing else, whatever stands for a key', () => {
    expect(scopesOf(nobody)).toEqual(['key|k'])
    expect(scopesOf({ ...nobody, keyHash: 'litellm_proxy_master_key' })).toEqual(['key|litellm_proxy_master_key'])
  })

  it('names every owner, the member only where there are both team and user', () => {
    const all = { userId: 'u', teamId: 't', organizationId: 'o', projectId: 'p', endUser: 'c', tags: ['a', 'b'] }
    expect(scopesOf({ ...nobody, ...all, extraScopes: ['key|k|model|gpt', 'proxy'] })).toEqual([
      'key|k',
      'user|u',
      'team|t',
      'team_member|t|u',
      'organization|o',
      'project|p',
      'customer|c',
      'tag|a',
      'tag|b',
      'key|k|model|gpt',
      'proxy',
    ])
    expect(scopesOf({ ...nobody, userId: 'u' })).toEqual(['key|k', 'user|u'])
    expect(scopesOf({ ...nobody, teamId: 't' })).toEqual(['key|k', 'team|t'])
  })

  it('names each scope once: a tag given twice costs once, a scope listed beside its owner too', () => {
    expect(scopesOf({ ...nobody, tags: ['a', 'a'], extraScopes: ['tag|a', 'key|k', 'proxy', 'proxy'] })).toEqual([
      'key|k',
      'tag|a',
      'proxy',
    ])
  })

  it('keeps what separates parts out of ids, so that no id names another owner', () => {
    expect(scopesOf({ ...nobody, userId: 'a|b', teamId: '50%' })).toEqual([
      'key|k',
      'user|a%7Cb',
      'team|50%25',
      'team_member|50%25|a%7Cb',
    ])
  })

  it('makes no name longer than an index takes', () => {
    for (const name of scopesOf({ ...nobody, extraScopes: [`run|k|${'一'.repeat(5000)}`] }))
      expect(Buffer.byteLength(name)).toBeLessThan(2700)
  })
})

describe('scopeName', () => {
  const id = fc.string({ maxLength: 8, unit: fc.constantFrom('a', '|', '%', '7', 'C', '2', '5', 'é') })

  it('takes apart what scopes puts together, whatever the ids hold', () => {
    fc.assert(
      fc.property(id, id, id, (a, b, c) => {
        expect(scopeName(scopes.team(a))).toEqual({ kind: 'team', ids: [a], part: null })
        expect(scopeName(scopes.teamMember(a, b))).toEqual({ kind: 'team_member', ids: [a, b], part: null })
        expect(scopeName(scopes.model(scopes.key(a), b))).toEqual({ kind: 'key', ids: [a], part: { model: b } })
        expect(scopeName(scopes.window(scopes.run(a, b), c))).toEqual({ kind: 'run', ids: [a, b], part: { window: c } })
      }),
    )
    expect(scopeName(scopes.proxy)).toEqual({ kind: 'proxy', ids: [], part: null })
  })

  it.each(['', 'nothing', 'team', 'team|a|b', 'team|a|model', 'team|a|other|x', 'constructor|a'])('finds none in %j', (text) => {
    expect(scopeName(text)).toBeNull()
  })
})
