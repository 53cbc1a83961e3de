import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING, type RoutingRule } from '../../proto/routing.ts'
import { type Asked, callOf, deployment, ids, runtimeOf } from './request.testkit.ts'
import { readRouting } from './request-routing.ts'
import { resolve, resolveTarget } from './resolve.ts'

const named = (modelGroup: string, fields: Partial<Deployment> = {}): Deployment =>
  deployment(`id-${modelGroup}`, { modelGroup, ...fields })

function resolved(deployments: Deployment[], model: string, asked: Asked = {}, changes: Parameters<typeof runtimeOf>[1] = {}) {
  const routing = { ...DEFAULT_ROUTING, ...asked.routing }
  const runtime = runtimeOf(deployments, { routing, ...changes })
  const call = callOf({ model }, asked)
  readRouting(call, runtime, () => 0)
  const { group, routes } = resolve(call, runtime)
  return { group, ids: ids(routes), models: routes.map((route) => route.model), call }
}

// biome-ignore lint/suspicious/noThenProperty: what a rule's target is called in the configuration.
const rule = (models: string[], when: RoutingRule['when'], to: string): RoutingRule => ({ models, when, then: to })

describe('resolve', () => {
  it('takes a deployment’s id first, past a group and an alias of that name', () => {
    const deployments = [named('gpt', { id: 'one' }), named('one', { id: 'two' })]
    expect(resolved(deployments, 'one').ids).toEqual(['one'])
    expect(resolved(deployments, 'one', { identity: { aliases: { one: 'other' } } }).ids).toEqual(['one'])
  })

  it('follows the aliases of the key, then those of its router settings, then those of everybody', () => {
    const deployments = [named('a'), named('b'), named('c')]
    expect(resolved(deployments, 'nick', { identity: { aliases: { nick: 'a' } } }).group).toBe('a')
    expect(
      resolved(
        deployments,
        'nick',
        { identity: { routing: { modelGroupAlias: { nick: 'b' } } } },
        { modelGroupAlias: { nick: 'c' } },
      ).group,
    ).toBe('b')
    expect(resolved(deployments, 'nick', {}, { modelGroupAlias: { nick: 'c' } }).group).toBe('c')
  })

  it('gives a team its own deployments under their public name and nobody else', () => {
    const own = named('model_name_t1_x', { id: 'own', team: { id: 't1', publicName: 'gpt' } })
    const deployments = [named('gpt', { id: 'open' }), own]
    expect(resolved(deployments, 'gpt', { identity: { teamId: 't1' } }).ids).toEqual(['own'])
    expect(resolved(deployments, 'gpt', { identity: { teamId: 't2' } }).ids).toEqual(['open'])
    expect(resolved(deployments, 'gpt').ids).toEqual(['open'])
    expect(resolved(deployments, 'model_name_t1_x', { identity: { teamId: 't1' } }).ids).toEqual(['own'])
    expect(resolved(deployments, 'own', { identity: { teamId: 't1' } }).ids).toEqual(['own'])
    for (const teamId of ['t2', null]) {
      expect(() => resolved(deployments, 'own', { identity: { teamId } })).toThrow('Invalid model name')
      expect(() => resolved(deployments, 'model_name_t1_x', { identity: { teamId } })).toThrow('Invalid model name')
    }
  })

  it('adds a team’s deployment without a public name to everybody’s group, for the team', () => {
    const deployments = [named('gpt', { id: 'open' }), named('gpt', { id: 'own', team: { id: 't1', publicName: null } })]
    expect(resolved(deployments, 'gpt', { identity: { teamId: 't1' } }).ids).toEqual(['open', 'own'])
    expect(resolved(deployments, 'gpt').ids).toEqual(['open'])
  })

  it('knows a team’s wildcards', () => {
    const deployments = [
      named('openai/*', { id: 'open', model: '*' }),
      named('x', { id: 'own', model: '*', team: { id: 't1', publicName: 'openai/*' } }),
    ]
    expect(resolved(deployments, 'openai/gpt-4o', { identity: { teamId: 't1' } })).toMatchObject({
      ids: ['own'],
      models: ['gpt-4o'],
    })
    expect(resolved(deployments, 'openai/gpt-4o').ids).toEqual(['open'])
  })

  it('tries the longer wildcard first, of one length the one with more pattern characters', () => {
    const deployments = [
      named('abcd*', { id: 'plain', model: '*' }),
      named('ab*d*', { id: 'special', model: 'x-*-*' }),
      named('abcde*', { id: 'long', model: '*' }),
    ]
    expect(resolved(deployments, 'abcdef').ids).toEqual(['long'])
    expect(resolved(deployments, 'abcdx')).toMatchObject({ ids: ['special'], models: ['x-c-x'] })
  })

  it('goes to the first default fallback for a name nobody knows, unless fallbacks are off', () => {
    const routing = { fallbacks: { general: { '*': [{ model: 'gpt' }] }, contextWindow: null, contentPolicy: null } }
    expect(resolved([named('gpt')], 'nothing', { routing }).group).toBe('gpt')
    const runtime = runtimeOf([named('gpt')], { routing: { ...DEFAULT_ROUTING, ...routing } })
    const call = callOf({ model: 'nothing', disable_fallbacks: true })
    readRouting(call, runtime, () => 0)
    expect(() => resolve(call, runtime)).toThrow(expect.objectContaining({ code: 'unknown_model', status: 400 }))
  })

  it('refuses a key what it may not call, whatever it is called by', () => {
    const identity = { models: ['a'], aliases: { nick: 'b', fine: 'a' } }
    expect(() => resolved([named('a'), named('b')], 'b', { identity })).toThrow(
      expect.objectContaining({ code: 'model_denied', status: 403 }),
    )
    expect(() => resolved([named('a'), named('b')], 'nick', { identity })).toThrow(
      expect.objectContaining({ code: 'model_denied' }),
    )
    expect(resolved([named('a'), named('b')], 'fine', { identity }).group).toBe('a')
  })

  it('reads :floor and :nitro where the name with them is nobody’s', () => {
    const floor = resolved([named('gpt'), named('*', { model: '*' })], 'gpt:floor')
    expect([floor.group, floor.call.preferences?.sort, floor.call.requestedModel]).toEqual(['gpt', 'price', 'gpt:floor'])
    expect(resolved([named('gpt')], 'gpt:nitro').call.preferences?.sort).toBe('throughput')
    expect(resolved([named('openai/*', { model: '*' })], 'openai/x:nitro').models).toEqual(['x:nitro'])
    expect(resolved([named('gpt'), named('gpt:floor')], 'gpt:floor')).toMatchObject({
      group: 'gpt:floor',
      call: { preferences: null },
    })
    expect(() => resolved([named('gpt')], 'gpt:constructor')).toThrow('Invalid model name')
  })

  it('keeps what `provider` says beside a suffix', () => {
    const runtime = runtimeOf([named('gpt')])
    const call = callOf({ model: 'gpt:floor', provider: { sort: 'latency', only: ['openai'] } })
    readRouting(call, runtime, () => 0)
    resolve(call, runtime)
    expect(call.preferences).toMatchObject({ sort: 'latency', only: ['openai'] })
  })

  it('sends a request to where the first rule that fits it says, though the key may not ask for that itself', () => {
    const rules = [
      rule(['other'], {}, 'c'),
      rule(['a'], { 'metadata.plan': 'paid' }, 'b'),
      rule([], { 'headers.x-region': { $in: ['eu'] } }, 'c'),
    ]
    const runtime = runtimeOf([named('a'), named('b'), named('c')], { routing: { ...DEFAULT_ROUTING, conditions: rules } })
    const group = (body: Record<string, unknown>, headers: Record<string, string> = {}) => {
      const call = callOf({ model: 'a', ...body }, { headers, identity: { models: ['a'] } })
      readRouting(call, runtime, () => 0)
      return resolve(call, runtime).group
    }
    expect(group({})).toBe('a')
    expect(group({ metadata: { plan: 'paid' } }, { 'x-region': 'eu' })).toBe('b')
    expect(group({}, { 'x-region': 'eu' })).toBe('c')
    expect(group({}, { 'x-portkey-metadata': '{"plan":"paid"}' })).toBe('b')
    expect(() => group({}, { 'x-portkey-metadata': 'paid' })).toThrow('x-portkey-metadata must hold a JSON object')
  })

  it('says of a provider that is gone when it went and what to use instead', () => {
    for (const [model, words] of [
      ['palm/text-bison', /2024-10.*gemini/],
      ['github/gpt-4o', /2026-07-30/],
      ['custom/mine', /Python/],
    ] as const)
      expect(() => resolved([named('gpt')], model)).toThrow(
        expect.objectContaining({ code: 'unknown_model', status: 400, message: expect.stringMatching(words) }),
      )
  })

  it('takes no name of Object.prototype for an alias, a group or a suffix', () => {
    for (const model of ['constructor', '__proto__', 'toString', 'gpt:toString'])
      expect(() => resolved([named('gpt')], model)).toThrow(expect.objectContaining({ code: 'unknown_model' }))
  })
})

describe('resolveTarget', () => {
  it('finds a team’s own group for a fallback of its call', () => {
    const runtime = runtimeOf([named('m', { id: 'own', team: { id: 't1', publicName: 'spare' } })])
    expect(resolveTarget(callOf({}, { identity: { teamId: 't1' } }), runtime, 'spare')?.group).toBe('spare')
    expect(resolveTarget(callOf({}), runtime, 'spare')).toBeNull()
  })
})
