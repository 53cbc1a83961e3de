import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type LoadedConfig, loadConfig } from '../shared/config/load.ts'
import { tracingSettings } from '../shared/config/tracing.ts'
import { litellmConfig, NOT_TO_BE_HAD, PEER_GATEWAYS } from './peers.ts'
import { SCENARIOS, SETUPS } from './scenarios.ts'
import { configText, keyOf } from './setups.ts'

function load(text: string): LoadedConfig {
  const folder = mkdtempSync(join(tmpdir(), 'turnpike-setups-'))
  try {
    writeFileSync(join(folder, 'config.yaml'), text)
    return loadConfig(join(folder, 'config.yaml'), {})
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const names = ({ config }: LoadedConfig): string[] => config.model_list.map((entry) => entry.model_name)

describe('the setups of a measured gateway', () => {
  it('are configurations that Turnpike reads without a warning', () => {
    // Most setups differ in who calls, not in what is read.
    const texts = new Set(SETUPS.map((setup) => configText('http://127.0.0.1:9000', setup)))
    expect(texts.size).toBe(4)
    for (const text of texts) expect(load(text).warnings).toEqual([])
  })

  it('have the groups that the scenarios call', () => {
    const served = names(load(configText('http://127.0.0.1:9000', 'deployments')))
    for (const { group, name } of SCENARIOS.filter((scenario) => scenario.group > 1))
      expect(served.filter((model) => model === `bench-${group}`).length, name).toBe(group)
    expect(names(load(configText('http://127.0.0.1:9000', 'plain')))).toEqual(['bench', 'bench-claude'])
  })

  it('trace one call in a hundred where everything is on, and nothing elsewhere', () => {
    const traced = SETUPS.map((setup) => {
      const { env, config } = load(configText('http://127.0.0.1:9000', setup))
      return [setup, tracingSettings(env, config)] as const
    })
    for (const [setup, settings] of traced) {
      if (setup === 'full') expect(settings).toMatchObject({ sampleRate: 0.01, endpoint: 'http://127.0.0.1:9000/v1/traces' })
      else expect(settings, setup).toBeNull()
    }
  })

  it('give LiteLLM the same models, its own settings beside', () => {
    for (const setup of ['plain', 'cache', 'deployments'] as const) {
      const theirs = load(litellmConfig('http://127.0.0.1:9000', setup, 'sk-bench-1234567890'))
      expect(names(theirs)).toEqual(names(load(configText('http://127.0.0.1:9000', setup))))
      expect(theirs.config.general_settings.master_key).toBe('sk-bench-1234567890')
      expect(theirs.config.litellm_settings.cache ?? false).toBe(setup === 'cache')
    }
  })

  it('that a peer lacks are missing with a reason', () => {
    for (const [name, peer] of Object.entries(PEER_GATEWAYS)) {
      expect(peer.lacks('plain'), name).toBeNull()
      for (const setup of SETUPS) expect(peer.lacks(setup), `${name} ${setup}`).not.toBe('')
      for (const setup of ['full', 'keys', 'routers-1'] as const) expect(peer.lacks(setup), `${name} ${setup}`).toMatch(/\w+ \w+/)
    }
    expect(Object.keys(PEER_GATEWAYS).filter((name) => name in NOT_TO_BE_HAD)).toEqual([])
  })

  it('number their keys with one length, so that one call becomes any other by writing over it', () => {
    expect(new Set([0, 7, 999_999].map((number) => keyOf(number).length)).size).toBe(1)
  })
})
