import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isAlive } from '../shared/process-status.ts'
import { type Cluster, startCluster } from './cluster.ts'

const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], LITELLM_LOG: 'ERROR' }

describe('cluster', () => {
  let directory = ''
  let cluster: Cluster
  const notes: string[] = []

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'turnpike-cluster-'))
    chmodSync(directory, 0o711)
    const note = (text: string) => notes.push(text)
    cluster = await startCluster({
      env,
      host: '127.0.0.1',
      ports: [0, 0],
      dataDirectory: directory,
      postgres: { fsync: 'off' },
      note,
    })
  })
  afterAll(async () => {
    await cluster?.stop()
    const left = cluster?.members().filter(({ pid }) => isAlive(pid))
    rmSync(directory, { recursive: true, force: true })
    expect(left).toEqual([])
  })

  const chat = (url: string | undefined) =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${cluster.masterKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'mock', messages: [{ role: 'user', content: 'hello' }] }),
    })

  it('is two edges, two routers and one accounting, each a process of its own', () => {
    const members = cluster.members()
    expect(members.map(({ role, index }) => `${role} ${index}`)).toEqual([
      'accounting 0',
      'router 0',
      'router 1',
      'edge 0',
      'edge 1',
    ])
    expect(new Set(members.map(({ pid }) => pid)).size).toBe(5)
    expect(members.every(({ alive }) => alive)).toBe(true)
  })

  it('serves the same keys on every edge', async () => {
    for (const url of cluster.urls) {
      const response = await chat(url)
      expect(response.status).toBe(200)
      expect(await response.json()).toMatchObject({ object: 'chat.completion', model: 'mock' })
    }
  })

  it('says which process died, goes on without it, and takes it back on the same port', async () => {
    const [, lost] = cluster.urls
    await cluster.kill('edge', 1)
    expect(notes.at(-1)).toMatch(/^edge-1 \(process \d+\) ended with SIGKILL; it is not started again by itself$/)
    await expect(chat(lost)).rejects.toThrow()
    expect((await chat(cluster.urls[0])).status).toBe(200)
    await cluster.restart('edge', 1)
    expect(cluster.urls[1]).toBe(lost)
    expect((await chat(lost)).status).toBe(200)
  })

  it('probes and measures processes that serve no clients', async () => {
    for (const { role, healthPort } of cluster.members().filter((member) => member.role !== 'edge')) {
      const base = `http://127.0.0.1:${healthPort}`
      expect((await fetch(`${base}/health/readiness`)).status, role).toBe(200)
      expect((await fetch(`${base}/metrics`)).status, role).toBe(200)
    }
  })

  it('is refused a data folder that another gateway uses', async () => {
    await expect(startCluster({ env, ports: [0], dataDirectory: directory })).rejects.toThrow(
      /Another gateway \(process \d+\) is using/,
    )
  })
})

describe('a cluster that cannot start', () => {
  it('says why and leaves no process behind', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'turnpike-cluster-'))
    const configFile = join(directory, 'config.yaml')
    writeFileSync(configFile, 'general_settings: { master_key: sk-0123456789abcdef }\n')
    const start = startCluster({ env, configFile, masterKey: 'sk-another-0123456789', ports: [0], dataDirectory: directory })
    await expect(start).rejects.toThrow('names another master key')
    rmSync(directory, { recursive: true })
  })
})
