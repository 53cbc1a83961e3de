import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isAlive, startTime } from '../shared/process-status.ts'
import { freePort, stopProcess } from './server-process.ts'

const CLI = join(import.meta.dirname, 'cli.ts')
const environment = { PATH: process.env['PATH'], HOME: process.env['HOME'] }
let directory = ''
const children: ChildProcess[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'turnpike-cli-'))
  chmodSync(directory, 0o711)
})
afterEach(async () => {
  for (const child of children.splice(0)) if (child.pid !== undefined) await stopProcess(child.pid, 'SIGTERM', 10_000)
  // A gateway that a test killed leaves its database running; it is ours to end.
  const postmaster = join(directory, 'postgres/data/postmaster.pid')
  if (existsSync(postmaster)) await stopProcess(Number(readFileSync(postmaster, 'utf8').split('\n')[0]), 'SIGINT', 10_000)
  rmSync(directory, { recursive: true, force: true })
})

interface Run {
  child: ChildProcess
  output(): string
  /** Resolves once the output holds `text`; rejects when the process ends first. */
  says(text: string): Promise<void>
  ended: Promise<number | null>
}

function run(args: string[], env: Record<string, string> = {}): Run {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { ...environment, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => (output += bytes))
  const ended = once(child, 'close').then(([code]) => code as number | null)
  return {
    child,
    ended,
    output: () => output,
    async says(text) {
      const over = ended.then((code) => Promise.reject(new Error(`ended with ${code}: ${output}`)))
      while (!output.includes(text)) await Promise.race([once(child.stdout as NodeJS.ReadableStream, 'data'), over])
      over.catch(() => undefined)
    },
  }
}

async function started(port: number): Promise<Run> {
  const gateway = run(['start', '--host', '127.0.0.1', '--port', String(port), '--data', directory])
  await gateway.says('a second one stops at once')
  return gateway
}

describe('start', () => {
  it('makes a master key once, serves the calls it prints, and stops cleanly on a signal', async () => {
    const port = await freePort()
    const first = await started(port)
    const key = readFileSync(join(directory, 'master-key'), 'utf8')
    expect(statSync(join(directory, 'master-key')).mode & 0o777).toBe(0o600)
    expect(first.output()).toContain(key)
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    const bodies = [...first.output().matchAll(/(http:\S+) -H .*?(?:-d '(.*)')?$/gm)].map(([, url, body]) => ({
      url: url as string,
      body,
    }))
    expect(bodies.map(({ url }) => new URL(url).pathname)).toEqual(['/v1/chat/completions', '/key/generate', '/spend/logs'])
    for (const { url, body } of bodies) {
      const response = await fetch(url, body === undefined ? { headers } : { method: 'POST', headers, body })
      expect(response.status, url).toBe(200)
      await response.text()
    }
    first.child.kill('SIGTERM')
    expect(await first.ended).toBe(0)
    expect(existsSync(join(directory, 'postgres/data/postmaster.pid'))).toBe(false)

    const second = await started(port)
    expect(second.output()).toContain(key)
  })

  it('stops when the process that started it is gone', async () => {
    const gateway = await started(await freePort())
    // After a disconnect Node tells of the exit, but no longer of the closed pipes.
    const exit = once(gateway.child, 'exit')
    gateway.child.disconnect()
    expect(await exit).toEqual([0, null])
  })

  it('takes up the database that a killed gateway left running', async () => {
    const port = await freePort()
    const first = await started(port)
    first.child.kill('SIGKILL')
    await first.ended
    const postgres = Number(readFileSync(join(directory, 'postgres/data/postmaster.pid'), 'utf8').split('\n')[0])
    const since = startTime(postgres)
    const second = await started(port)
    expect(isAlive(postgres)).toBe(true)
    expect(startTime(postgres)).toBe(since)
    second.child.kill('SIGINT')
    expect(await second.ended).toBe(0)
    expect(isAlive(postgres)).toBe(false)
  })

  it('names the port when another program has it, and starts nothing', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as { port: number }
    const gateway = run(['start', '--host', '127.0.0.1', '--port', String(port), '--data', directory])
    expect(await gateway.ended).toBe(1)
    expect(gateway.output()).toContain(`Port ${port} on 127.0.0.1 is in use by another program.`)
    expect(existsSync(join(directory, 'postgres'))).toBe(false)
    other.close()
  })

  it('does not repeat a master key that was given', async () => {
    const gateway = run([
      'start',
      '--host',
      '127.0.0.1',
      '--port',
      '0',
      '--data',
      directory,
      '--master-key',
      'sk-given-0123456789',
    ])
    await gateway.says('a second one stops at once')
    expect(gateway.output()).not.toContain('sk-given')
    expect(existsSync(join(directory, 'master-key'))).toBe(false)
  })
})

describe('what is wrong', () => {
  const broken =
    'model_list:\n  - model_name: a\n    litellm_params:\n      model: openai/gpt-4o\n      rpm: many\n      tpm: few\n'

  it.each(['start', 'check-config'])(
    'in a configuration is told by %s, every problem with its file, line and path',
    async (command) => {
      const file = join(directory, 'config.yaml')
      writeFileSync(file, broken)
      const result = run(command === 'start' ? ['start', '--config', file, '--data', directory] : ['check-config', file])
      expect(await result.ended).toBe(1)
      expect(result.output()).toContain(`${file}:5:12 model_list[0].litellm_params.rpm:`)
      expect(result.output()).toContain(`${file}:6:12 model_list[0].litellm_params.tpm:`)
      expect(result.output()).not.toContain('    at ')
    },
  )

  it.each(['start', 'check-config'])('in where traces go is told by %s', async (command) => {
    const file = join(directory, 'config.yaml')
    writeFileSync(file, 'litellm_settings: {callbacks: [otel]}\nenvironment_variables: {OTEL_EXPORTER: zipkin}\n')
    const result = run(command === 'start' ? ['start', '--config', file, '--data', directory] : ['check-config', file])
    expect(await result.ended).toBe(1)
    expect(result.output()).toContain('OTEL_EXPORTER is "zipkin"; there are otlp_http')
    expect(result.output()).not.toContain('    at ')
  })

  it.each([
    [['start', '--prot', '1'], /Unknown option '--prot'/],
    [['start', '--port', 'http'], /"http" is not a port/],
    [['start', 'now'], /Unexpected argument "now"/],
    [['launch'], /Unknown command "launch"/],
    [['check-config'], /takes one file/],
    [['check-config', '/nonexistent.yaml'], /nonexistent\.yaml The file does not exist/],
    [['router'], /needs NATS: set NATS_URL/],
  ])('in the arguments %j is told in a sentence', async (args, text) => {
    const result = run(args)
    expect(await result.ended).toBe(1)
    expect(result.output()).toMatch(text)
    expect(result.output()).not.toContain('    at ')
  })
})

describe('migrate', () => {
  it('brings a database up to date once', async () => {
    const first = run(['migrate', '--data', directory])
    expect(await first.ended).toBe(0)
    expect(first.output()).toMatch(/brought up to date: \d+ migrations/)
    const second = run(['migrate', '--data', directory])
    expect(await second.ended).toBe(0)
    expect(second.output()).toContain('The database is up to date.')
  })
})

describe('a killed gateway', () => {
  it('has booked, once it is started again, each call that a client saw answered, once', async () => {
    const port = await freePort()
    const first = await started(port)
    const key = readFileSync(join(directory, 'master-key'), 'utf8').trim()
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    const body = JSON.stringify({ model: 'mock', messages: [{ role: 'user', content: 'hi' }], mock: { latency: 0 } })
    const answered: string[] = []
    const call = async (): Promise<void> => {
      const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, { method: 'POST', headers, body })
      await response.text()
      if (response.ok) answered.push(response.headers.get('x-litellm-call-id') as string)
      // The batch these belong to is still on its way to the database.
      if (answered.length === 40) first.child.kill('SIGKILL')
      return call()
    }
    await Promise.allSettled(Array.from({ length: 8 }, call))
    await first.ended
    expect(answered.length).toBeGreaterThanOrEqual(40)

    await started(port)
    const rows = async (id: string): Promise<unknown[]> =>
      (await fetch(`http://127.0.0.1:${port}/spend/logs?request_id=${id}`, { headers })).json() as Promise<unknown[]>
    const deadline = performance.now() + 15_000
    for (const id of answered) {
      let found = await rows(id)
      while (found.length === 0 && performance.now() < deadline) found = await rows(id)
      expect(found, id).toHaveLength(1)
    }
  })
})
