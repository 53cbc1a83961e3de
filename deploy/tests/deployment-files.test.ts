import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../shared/config/load.ts'
import { natsBinary } from '../server-binaries.ts'
import { ROOT } from './sources.ts'

interface Service {
  environment: Record<string, string>
  volumes?: string[]
  ports?: string[]
  depends_on?: Record<string, unknown>
  healthcheck?: unknown
}

const read = (file: string) => readFileSync(join(ROOT, 'deploy', file), 'utf8')
const compose: { services: Record<string, Service>; volumes: Record<string, unknown> } = parse(read('compose.yaml'), {
  merge: true,
})
const ours = Object.entries(compose.services).filter(([, service]) => service.environment?.['SERVICE'] !== undefined)

// Containers cannot be run in the tests: what follows reads the files.
describe('deployment files', () => {
  it('compose two edges on two ports, two routers and one accounting', () => {
    const roles = ours.map(([, service]) => service.environment['SERVICE']).sort()
    expect(roles).toEqual(['accounting', 'edge', 'edge', 'router', 'router'])
    expect(ours.flatMap(([, service]) => service.ports ?? [])).toEqual(['4000:4000', '4001:4000'])
  })

  it('give every process the bus and the keys, and accounting alone the database', () => {
    for (const [name, { environment, healthcheck }] of ours) {
      expect(environment, name).toMatchObject({
        NATS_URL: expect.stringContaining('@nats:'),
        LITELLM_MASTER_KEY: expect.anything(),
      })
      expect(healthcheck, name).toBeDefined()
      expect('DATABASE_URL' in environment, name).toBe(name === 'accounting')
    }
  })

  it('give no two routers one disk, and name only volumes and services that exist', () => {
    const mounts = Object.values(compose.services).flatMap(({ volumes = [] }) =>
      volumes.map((mount) => mount.split(':')[0] as string),
    )
    const named = mounts.filter((mount) => !mount.startsWith('.'))
    expect(new Set(named).size).toBe(named.length)
    expect(named.toSorted()).toEqual(Object.keys(compose.volumes).toSorted())
    for (const mount of mounts.filter((mount) => mount.startsWith('.')))
      expect(existsSync(join(ROOT, 'deploy', mount))).toBe(true)
    const needed = Object.values(compose.services).flatMap((service) => Object.keys(service.depends_on ?? {}))
    expect(needed.filter((name) => !(name in compose.services))).toEqual([])
  })

  it('copy into the image every workspace, and nothing that is not there', () => {
    const copied = [...read('Dockerfile').matchAll(/^COPY (.+) \S+$/gm)].flatMap((match) => (match[1] as string).split(' '))
    expect(copied.filter((path) => !existsSync(join(ROOT, path)))).toEqual([])
    const workspaces: string[] = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).workspaces
    expect(workspaces.filter((path) => !copied.includes(path.split('/')[0] as string))).toEqual([])
  })

  it('hold a NATS configuration that NATS itself accepts', () => {
    const check = spawnSync(natsBinary(), ['-t', '-c', join(ROOT, 'deploy/nats.conf')], {
      encoding: 'utf8',
      env: { ...process.env, NATS_PASSWORD: 'secret' },
    })
    expect(check.stderr).toContain('configuration file')
    expect(check.status).toBe(0)
  })

  it('hold an example configuration without a problem or a warning', () => {
    const env = {
      OPENAI_API_KEY: 'a',
      OPENROUTER_API_KEY: 'a',
      ANTHROPIC_API_KEY: 'a',
      LITELLM_MASTER_KEY: 'sk-0123456789abcdef',
    }
    const { config, warnings } = loadConfig(join(ROOT, 'deploy/config.example.yaml'), env)
    expect(warnings).toEqual([])
    expect(config.model_list.map((entry) => entry.model_name)).toEqual(['mock', 'gpt-4o', 'gpt-4o', 'claude'])
  })
})
