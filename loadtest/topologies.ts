import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { commit } from './commit.ts'
import { once } from './connection.ts'
import type { ProcessSample } from './cpu.ts'
import { cleanEnvironment, end, freePort, launch, Missing, ROOT } from './launch.ts'
import { CHAT, MESSAGES, type Running, targets } from './running.ts'
import type { Setup } from './scenarios.ts'
import { configText, KEYS, keyOf, makeCaller } from './setups.ts'

/** Of one try while waiting for a start, in milliseconds. */
const TRY_LIMIT = 5_000
/** Milliseconds between two readings of `/metrics` in setup `full`; Prometheus' own default is 15 seconds. */
const SCRAPE_PAUSE = 1_000

/** The scripted provider, in its own process. */
export async function startProvider(): Promise<{ url: string; pid: number; stop(): Promise<void> }> {
  const child = spawn(process.execPath, [join(ROOT, 'loadtest/upstream.ts')], { stdio: ['ignore', 'pipe', 'inherit'] })
  const line = await new Promise<string>((done, fail) => {
    child.stdout.once('data', (bytes) => done(String(bytes)))
    child.once('error', fail)
    child.once('exit', (code) => fail(new Error(`the provider ended with code ${code}`)))
  })
  const { url } = JSON.parse(line) as { url: string }
  return { url, pid: child.pid as number, stop: () => end(child) }
}

/** The provider without a gateway: what the rest is measured against. Each kind of call in the dialect that the provider behind it speaks. */
export function direct(provider: { url: string; pid: number }): Running {
  const chat = { path: CHAT, model: 'bench', headers: { authorization: 'Bearer fake' }, dialect: 'openai' as const }
  const anthropic = { path: MESSAGES, model: 'bench', headers: { 'x-api-key': 'fake' }, dialect: 'anthropic' as const }
  return {
    name: 'direct',
    version: '',
    origin: provider.url,
    target: { chat, translated: anthropic, messages: chat },
    pids: [],
    nameOf: () => 'direct',
    spend: null,
    stop: async () => {},
  }
}

/** Our HTTP server and client with nothing between (deploy/tools/floor.ts): what these parts cost just then. */
export async function floor(provider: { url: string }): Promise<Running> {
  const directory = mkdtempSync(join(tmpdir(), 'turnpike-floor-'))
  const port = await freePort()
  const args = ['deploy/tools/floor.ts', '--port', String(port), '--provider', provider.url]
  const launched = launch(process.execPath, args, { cwd: ROOT, env: cleanEnvironment(), log: join(directory, 'log') })
  const origin = `http://127.0.0.1:${port}`
  await launched.until(async () => (await once({ origin, path: '/', method: 'GET' }, TRY_LIMIT)).status === 200)
  const chat = { path: CHAT, model: 'bench', headers: {}, dialect: 'openai' as const }
  return {
    name: 'floor',
    version: commit(),
    origin,
    target: { chat, translated: null, messages: null },
    pids: [launched.pid],
    nameOf: () => 'floor',
    spend: null,
    stop: async () => {
      await end(launched.child)
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Where `--profile` leaves a `.cpuprofile` for each process, for a browser's developer tools. */
export const PROFILES = join(ROOT, '.turnpike/profiles')

/** One of ours, and what its operator knows. */
export interface Gateway extends Running {
  masterKey: string
  configFile: string
  dataDirectory: string
  logFile: string
}

export interface Changes {
  setup?: Setup
  /** Lines of its configuration. */
  more?: string
  nodeOptions?: string
}

/** Ours: `start` is everything in one process, `cluster` one process per part with NATS, Redis and PostgreSQL. */
export async function turnpike(
  command: 'start' | 'cluster',
  providerUrl: string,
  profile = false,
  changes: Changes = {},
): Promise<Gateway> {
  const setup = changes.setup ?? 'plain'
  const directory = mkdtempSync(join(tmpdir(), 'turnpike-bench-'))
  // Root's PostgreSQL runs under another account: it would keep its data elsewhere if it could not pass through here.
  chmodSync(directory, 0o711)
  const config = join(directory, 'config.yaml')
  const data = join(directory, 'data')
  const masterKey = `sk-bench-${process.pid}-${Date.now()}`
  const port = await freePort()
  writeFileSync(config, configText(providerUrl, setup) + (changes.more ?? ''))
  const [, routers] = /^routers-(\d+)$/.exec(setup) ?? []
  const args = ['deploy/cli.ts', command, '--config', config, '--port', String(port), '--data', data, '--master-key', masterKey]
  if (routers !== undefined) args.push('--routers', routers)
  const nodeOptions = profile ? `--cpu-prof --cpu-prof-dir=${PROFILES}` : (changes.nodeOptions ?? '')
  const env = { ...cleanEnvironment(), ...(nodeOptions === '' ? {} : { NODE_OPTIONS: nodeOptions }) }
  const logFile = join(directory, 'log')
  if (setup === 'keys') await makeKeys(data, join(directory, 'keys.log'))
  const launched = launch(process.execPath, args, { cwd: ROOT, env, log: logFile })
  const origin = `http://127.0.0.1:${port}`
  let scraping: NodeJS.Timeout | undefined
  const stop = async (): Promise<void> => {
    clearInterval(scraping)
    await end(launched.child)
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    await launched.until(async () => (await once({ origin, path: '/health/readiness', method: 'GET' }, TRY_LIMIT)).status === 200)
    const { key, extra } = await makeCaller(origin, masterKey, setup)
    const target = targets({ authorization: `Bearer ${key}` }, extra)
    const admin = { authorization: `Bearer ${masterKey}` }
    const messages = [{ role: 'user', content: 'hello' }]
    const call = { ...target.chat, origin, body: JSON.stringify({ model: 'bench', messages, ...extra }) }
    await launched.until(async () => (await once(call, TRY_LIMIT)).status === 200)
    if (setup === 'full') {
      const scrape = { origin, path: '/metrics', method: 'GET', headers: admin }
      scraping = setInterval(() => void once(scrape, TRY_LIMIT).catch(() => {}), SCRAPE_PAUSE)
    }
    const spend = async (): Promise<number> => {
      const info = await once({ origin, path: `/key/info?key=${key}`, method: 'GET', headers: admin })
      return Number((JSON.parse(info.body.toString()) as { info?: { spend?: number } }).info?.spend ?? 0)
    }
    return {
      name: command === 'start' ? 'embedded' : 'cluster',
      version: commit(),
      origin,
      target,
      pids: [launched.pid],
      nameOf: (sample) => partOf(sample, command === 'start' ? 'gateway' : 'supervisor'),
      spend: key === masterKey ? null : spend,
      ...(setup === 'keys' ? { keyOf } : {}),
      stop,
      masterKey,
      configFile: config,
      dataDirectory: data,
      logFile,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Fills the table of keys before the gateway starts: through its API a million would take an hour. */
async function makeKeys(data: string, log: string): Promise<void> {
  const args = ['deploy/tools/bench-keys.ts', '--data', data, '--keys', String(KEYS)]
  const made = launch(process.execPath, args, { cwd: ROOT, env: cleanEnvironment(), log })
  const code = await new Promise((done) => made.child.once('exit', done))
  if (code !== 0) throw new Missing(`the keys could not be made: ${readFileSync(log, 'utf8').trim().slice(-400)}`)
}

/** What a process is, by its command line. */
function partOf(sample: ProcessSample, otherwise: string): string {
  for (const part of ['postgres', 'nats-server', 'redis', 'valkey', 'edge', 'router', 'accounting']) {
    const word = new RegExp(`(^|[/ ])${part}(-svc)?(:|/main\\.ts|-server|\\s|$)`)
    if (word.test(sample.command)) return part.replace('-server', '')
  }
  return otherwise
}
