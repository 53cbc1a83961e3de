import { describe, expect, it } from 'vitest'
import { bodyOf, SCENARIOS } from './scenarios.ts'
import { parseScript, scriptText } from './script.ts'

describe('the named loads', () => {
  it('have names of their own, and scripts that the provider reads out of their body', () => {
    expect(new Set(SCENARIOS.map(({ name }) => name)).size).toBe(SCENARIOS.length)
    for (const scenario of SCENARIOS) {
      const body = bodyOf({ ...scenario, prompt: 100 }, 'bench')
      expect(scriptText('bench', body, undefined, ''), scenario.name).toBe(scenario.script)
      expect(() => parseScript(scenario.script, () => 1), scenario.name).not.toThrow()
      expect(JSON.parse(body).stream, scenario.name).toBe(scenario.stream || undefined)
    }
  })

  it('speak the dialect they are told to, with what Anthropic asks for', () => {
    const [scenario] = SCENARIOS
    if (scenario === undefined) throw new Error('there are no scenarios')
    const body = JSON.parse(bodyOf(scenario, 'm', 'anthropic', { metadata: { tags: ['a'] } }))
    expect(body).toMatchObject({ model: 'm', max_tokens: 4_096, metadata: { tags: ['a'] } })
    expect(JSON.parse(bodyOf(scenario, 'm'))).not.toHaveProperty('max_tokens')
  })

  it('ask for as many bytes as their names say, and are all in a full run but those that are named otherwise', () => {
    const named = (name: string) => SCENARIOS.find((scenario) => scenario.name === name) as (typeof SCENARIOS)[number]
    const size = (name: string): number => bodyOf(named(name), 'bench').length / 1_000
    expect([size('request-500'), size('request-30k'), size('request-300k')].map(Math.round)).toEqual([0, 30, 300])
    expect(size('request-500')).toBeGreaterThan(0.45)
    for (const scenario of SCENARIOS) expect(scenario.all || !scenario.usual, scenario.name).toBe(true)
    for (const scenario of SCENARIOS) expect(scenario.usual || !scenario.quick, scenario.name).toBe(true)
  })

  it('send as much prompt as they say', () => {
    const [scenario] = SCENARIOS
    if (scenario === undefined) throw new Error('there are no scenarios')
    expect(JSON.parse(bodyOf({ ...scenario, script: '', prompt: 12_345 }, 'm')).messages[0].content.length).toBe(12_345)
  })
})
