import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { silentLog } from '../../../shared/log.ts'
import { answer, chat, deployment, JSON_TYPE, make } from '../../handle.testkit.ts'
import { autoRouterOf } from './auto-router.ts'
import { createAutoRouting } from './choose.ts'
import { scoreOf, tierOf } from './complexity.ts'

const CONFIG = {
  encoder_type: 'openai',
  encoder_name: 'embed-small',
  routes: [
    { name: 'coder', utterances: ['write code', 'fix a bug'], score_threshold: 0.8 },
    { name: 'poet', utterances: ['write a poem'], description: 'verses', metadata: {} },
    { name: 'nobody', utterances: [] },
  ],
}

function read(settings: Record<string, unknown>, fields: object = {}) {
  return autoRouterOf(deployment('router', { provider: 'auto_router', model: 'r', settings, ...fields }))
}

describe('the settings of an auto router', () => {
  it('are JSON text, an object, or a file of a path', () => {
    const expected = {
      kind: 'semantic',
      embeddingModel: 'embed',
      defaultModel: 'plain',
      showsChoice: false,
      routes: [
        { name: 'coder', utterances: ['write code', 'fix a bug'], threshold: 0.8 },
        { name: 'poet', utterances: ['write a poem'], threshold: 0.5 },
        { name: 'nobody', utterances: [], threshold: 0.5 },
      ],
    }
    const others = { auto_router_default_model: 'plain', auto_router_embedding_model: 'embed' }
    expect(read({ ...others, auto_router_config: JSON.stringify(CONFIG) })).toEqual(expected)
    expect(read({ auto_router_config: CONFIG })).toMatchObject({ embeddingModel: 'embed-small', defaultModel: null })
    const folder = mkdtempSync(join(tmpdir(), 'auto-'))
    try {
      const path = join(folder, 'router.json')
      writeFileSync(path, JSON.stringify(CONFIG))
      expect(read({ ...others, auto_router_config_path: path })).toEqual(expected)
      expect(read({ ...others, auto_router_config_path: path }, { fromDatabase: true })).toHaveProperty('problem')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('that are wrong say where', () => {
    const problem = (settings: Record<string, unknown>) => (read(settings) as { problem: string }).problem
    expect(problem({})).toContain('auto_router_config or auto_router_config_path')
    expect(problem({ auto_router_config: '{' })).toBe('auto_router_config is not valid JSON')
    expect(problem({ auto_router_config_path: '/nowhere' })).toBe('auto_router_config_path /nowhere cannot be read')
    expect(problem({ auto_router_config: { routes: [] } })).toContain('auto_router_embedding_model')
    expect(problem({ auto_router_config: { ...CONFIG, routes: [{ name: 'a', utterances: 'x' }] } })).toContain(
      'routes[0].utterances',
    )
    expect(problem({ complexity_router_config: { tiers: { HARD: 'a' } } })).toContain('tiers.HARD')
    expect(problem({ complexity_router_config: {} })).toContain('tiers is missing')
    expect(problem({ adaptive_router_config: {} })).toContain('adaptive router is not served')
  })
})

describe('how hard a question is', () => {
  it.each([
    ['Hello!', 'simple'],
    ['What is the capital of France?', 'simple'],
    ['Write a python function that parses JSON', 'medium'],
    ['Debug this async function in typescript: it drops transactions of the database under concurrency', 'complex'],
    ['Prove this theorem step by step', 'reasoning'],
  ] as const)('%s: %s', (question, tier) => {
    expect(tierOf(question)).toBe(tier)
  })

  it('never leaves 0 to 1, and follows the boundaries an operator sets', () => {
    const hard = 'Analyze the distributed database architecture, first refactor the SQL endpoint, then debug it? '.repeat(100)
    expect(scoreOf(hard)).toBeLessThanOrEqual(1)
    expect(scoreOf('Hi')).toBe(0)
    expect(tierOf('Hi', { medium: 0, complex: 0.5, reasoning: 1 })).toBe('medium')
  })
})

/** A gateway with three groups behind a router; words have two dimensions: code and verse. */
function routed(settings: Record<string, unknown>, model = 'r', embed?: (texts: readonly string[]) => Promise<Float32Array[]>) {
  const embedded: string[][] = []
  const vector = (text: string) => Float32Array.from([/code|bug/.test(text) ? 3 : 0.1, /poem|verse/.test(text) ? 3 : 0.1])
  const world = make(
    [
      deployment('one', { modelGroup: 'coder', model: 'm-coder' }),
      deployment('two', { modelGroup: 'poet', model: 'm-poet' }),
      deployment('three', { modelGroup: 'plain', model: 'm-plain' }),
      deployment('four', { modelGroup: 'smart', provider: 'auto_router', model, apiBase: null, apiKey: null, settings }),
    ],
    { numRetries: 0 },
    () => ({
      autoRouting: createAutoRouting({
        log: silentLog,
        embed: async (texts) => {
          embedded.push([...texts])
          return embed === undefined ? texts.map(vector) : embed(texts)
        },
      }),
    }),
  )
  /** The upstream model that is asked, and the name the client reads. */
  const ask = async (content: string) => {
    const before = world.sent.length
    const client = world.call({ ...chat, model: 'smart', messages: [{ role: 'user', content }] })
    let over = false
    void client.done.then(() => {
      over = true
    })
    await expect.poll(() => world.sent.length > before || over).toBe(true)
    const sent = world.sent[before]
    if (sent === undefined) return { asked: null, named: null, client }
    sent.sink.head(200, JSON_TYPE)
    sent.sink.data(answer())
    sent.sink.end()
    await client.done
    return {
      asked: JSON.parse(sent.request.body as string).model as string,
      named: JSON.parse(client.text).model as string,
      client,
    }
  }
  return { ...world, ask, embedded }
}

const SEMANTIC = { auto_router_config: CONFIG, auto_router_embedding_model: 'embed', auto_router_default_model: 'plain' }

describe('a call to an auto router', () => {
  it('goes to the group whose utterance is nearest, under the router’s name; utterances are embedded once', async () => {
    const { ask, embedded, events } = routed(SEMANTIC)
    expect(await ask('my code has a bug')).toMatchObject({ asked: 'm-coder', named: 'smart' })
    expect(await ask('a verse, please')).toMatchObject({ asked: 'm-poet', named: 'smart' })
    expect(embedded).toEqual([['write code', 'fix a bug', 'write a poem'], ['my code has a bug'], ['a verse, please']])
    expect(events.map(({ modelGroup }) => modelGroup)).toEqual(['coder', 'poet'])
  })

  it('goes to the default where no route reaches its threshold, or nothing can be embedded; the next call tries again', async () => {
    // As near to both as can be: 0.7, which is not enough for a coder.
    const strict = { ...CONFIG, routes: CONFIG.routes.map((route) => ({ ...route, score_threshold: 0.8 })) }
    expect(await routed({ ...SEMANTIC, auto_router_config: strict }).ask('well?')).toMatchObject({ asked: 'm-plain' })
    const broken = routed(SEMANTIC, 'r', () => Promise.reject(new Error('down')))
    expect(await broken.ask('code')).toMatchObject({ asked: 'm-plain', named: 'smart' })
    expect(await broken.ask('code')).toMatchObject({ asked: 'm-plain' })
    expect(broken.embedded.filter((texts) => texts.length > 1)).toHaveLength(2)
  })

  it('bears the chosen name where the operator wants to see it', async () => {
    expect(await routed({ ...SEMANTIC, return_raw_model_name: true }).ask('a verse')).toMatchObject({ named: 'poet' })
  })

  it('goes by tiers without asking any model', async () => {
    const settings = {
      complexity_router_config: { tiers: { SIMPLE: 'plain', MEDIUM: 'poet', REASONING: 'coder' } },
      complexity_router_default_model: 'poet',
    }
    const { ask, embedded } = routed(settings, 'complexity_router')
    expect(await ask('Hello!')).toMatchObject({ asked: 'm-plain', named: 'smart' })
    expect(await ask('Prove it step by step')).toMatchObject({ asked: 'm-coder' })
    expect(
      await ask('Debug this async function in typescript: it drops transactions of the database under concurrency'),
    ).toMatchObject({
      asked: 'm-poet',
    })
    expect(embedded).toEqual([])
  })

  it('is refused with the reason when its settings are wrong, or what it chose is not there', async () => {
    const wrong = await routed({ auto_router_config: '{' }).ask('hi')
    expect(wrong.client.text + JSON.stringify(wrong.client.error)).toContain('auto_router_config is not valid JSON')
    const { auto_router_default_model: _, ...none } = SEMANTIC
    const missing = { ...none, auto_router_config: { routes: [{ name: 'gone', utterances: ['code'] }] } }
    const lost = await routed(missing).ask('code')
    expect(lost.asked).toBeNull()
    expect(lost.client.text + JSON.stringify(lost.client.error)).toContain("The router 'smart' chose gone, which is not there")
    const circle = { complexity_router_config: { tiers: { simple: 'smart' } } }
    const round = await routed(circle, 'complexity_router').ask('hi')
    expect(round.client.text + JSON.stringify(round.client.error)).toContain('which is not there')
  })
})
