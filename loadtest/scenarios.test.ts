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

  it('send as much prompt as they say', () => {
    const [scenario] = SCENARIOS
    if (scenario === undefined) throw new Error('there are no scenarios')
    expect(JSON.parse(bodyOf({ ...scenario, script: '', prompt: 12_345 }, 'm')).messages[0].content.length).toBe(12_345)
  })
})
