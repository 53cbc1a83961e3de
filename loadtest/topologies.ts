import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { once } from './connection.ts'
import type { ProcessSample } from './cpu.ts'

/** The things that are measured, each as processes of its own: what starts them, how they are called, what their parts are named. */
export interface Running {
  name: string
  version: string
  origin: string
  /** Model name and headers for each kind of call. */
  target: Record<'chat' | 'translated', { path: string; model: string; headers: Record<string, string> } | null>
  pids: number[]
  nameOf(sample: ProcessSample): string
  /** Dollars the ledger has booked on the key; null where there is no ledger. */
  spend: (() => Promise<number>) | null
  stop(): Promise<void>
}

/** Why a topology cannot be measured here. */
export class Missing extends Error {}

const ROOT = resolve(import.meta.dirname, '..')
const CHAT = '/v1/chat/completions'
/** Milliseconds: the first start of a data folder makes a database. */
const START_LIMIT = 60_000
const STOP_LIMIT = 15_000
/** Of one try while waiting for a start. */
const TRY_LIMIT = 5_000

/** Dollars per token of the measured models, so that the ledger can be held against what the provider stated. */
export const PRICES = { input: 1e-6, output: 2e-6 }

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

/** The provider without a gateway: what the rest is measured against. */
export function direct(provider: { url: string; pid: number }): Running {
  return {
    name: 'direct',
    version: '',
    origin: provider.url,
    target: { chat: { path: CHAT, model: 'bench', headers: { authorization: 'Bearer fake' } }, translated: null },
    pids: [],
    nameOf: () => 'direct',
    spend: null,
    stop: async () => {},
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

/** Ours: `start` is everything in one process, `cluster` one process per part with NATS, Redis and PostgreSQL. `more`: lines of its configuration. */
export async function turnpike(
  command: 'start' | 'cluster',
  providerUrl: string,
  profile = false,
  changes: { more?: string; nodeOptions?: string } = {},
): Promise<Gateway> {
  const directory = mkdtempSync(join(tmpdir(), 'turnpike-bench-'))
  // Root's PostgreSQL runs under another account: it would keep its data elsewhere if it could not pass through here.
  chmodSync(directory, 0o711)
  const config = join(directory, 'config.yaml')
  const masterKey = `sk-bench-${process.pid}-${Date.now()}`
  const port = await freePort()
  writeFileSync(config, configText(providerUrl) + (changes.more ?? ''))
  const args = [
    'deploy/cli.ts',
    command,
    '--config',
    config,
    '--port',
    String(port),
    '--data',
    join(directory, 'data'),
    '--master-key',
    masterKey,
  ]
  const name = command === 'start' ? 'embedded' : 'cluster'
  const nodeOptions = profile ? `--cpu-prof --cpu-prof-dir=${PROFILES}` : (changes.nodeOptions ?? '')
  const env = { ...cleanEnvironment(), ...(nodeOptions === '' ? {} : { NODE_OPTIONS: nodeOptions }) }
  const logFile = join(directory, 'log')
  const launched = launch(process.execPath, args, { cwd: ROOT, env, log: logFile })
  const origin = `http://127.0.0.1:${port}`
  const stop = async (): Promise<void> => {
    await end(launched.child)
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    await launched.until(async () => (await once({ origin, path: '/health/readiness', method: 'GET' }, TRY_LIMIT)).status === 200)
    const admin = { authorization: `Bearer ${masterKey}` }
    const made = await once({
      origin,
      path: '/key/generate',
      headers: admin,
      body: JSON.stringify({ key_alias: 'bench', max_budget: 1e6 }),
    })
    if (made.status !== 200) throw new Missing(`/key/generate answered ${made.status}: ${made.body.toString().slice(0, 300)}`)
    const { key } = JSON.parse(made.body.toString()) as { key: string }
    const headers = { authorization: `Bearer ${key}` }
    const call = {
      origin,
      path: CHAT,
      headers,
      body: JSON.stringify({ model: 'bench', messages: [{ role: 'user', content: 'hello' }] }),
    }
    await launched.until(async () => (await once(call, TRY_LIMIT)).status === 200)
    return {
      name,
      version: commit(),
      origin,
      target: { chat: { path: CHAT, model: 'bench', headers }, translated: { path: CHAT, model: 'bench-claude', headers } },
      pids: [launched.pid],
      nameOf: (sample) => partOf(sample, command === 'start' ? 'gateway' : 'supervisor'),
      spend: async () => {
        const info = await once({ origin, path: `/key/info?key=${key}`, method: 'GET', headers: admin })
        return Number((JSON.parse(info.body.toString()) as { info?: { spend?: number } }).info?.spend ?? 0)
      },
      stop,
      masterKey,
      configFile: config,
      dataDirectory: join(directory, 'data'),
      logFile,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** `model_list` as LiteLLM writes it. */
function configText(providerUrl: string): string {
  const prices = `      input_cost_per_token: ${PRICES.input}\n      output_cost_per_token: ${PRICES.output}\n`
  return `model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: ${providerUrl}/v1
      api_key: fake
${prices}  - model_name: bench-claude
    litellm_params:
      model: anthropic/bench-claude
      api_base: ${providerUrl}
      api_key: fake
${prices}`
}

const PORTKEY = '1.15.2'
/** Newer ones that its range allows answer 500 to every stream. */
const PORTKEY_SERVER = '1.13.8'

/** A gateway in TypeScript to compare with, from npm, kept in `.turnpike/peers`. It has no keys, budgets or ledger. */
export async function portkey(providerUrl: string): Promise<Running> {
  const folder = join(ROOT, '.turnpike/peers', `portkey-${PORTKEY}`)
  const script = join(folder, 'node_modules/@portkey-ai/gateway/build/start-server.js')
  if (!existsSync(script)) await installPortkey(folder)
  const port = await freePort()
  const launched = launch(process.execPath, [script, '--headless', `--port=${port}`], {
    cwd: folder,
    env: cleanEnvironment(),
    log: join(folder, 'log'),
  })
  const origin = `http://127.0.0.1:${port}`
  const headers = (provider: string) => ({
    authorization: 'Bearer fake',
    'x-portkey-provider': provider,
    'x-portkey-custom-host': `${providerUrl}/v1`,
  })
  const stop = () => end(launched.child)
  try {
    const body = JSON.stringify({ model: 'bench', messages: [{ role: 'user', content: 'hello' }] })
    await launched.until(
      async () => (await once({ origin, path: CHAT, headers: headers('openai'), body }, TRY_LIMIT)).status === 200,
    )
  } catch (error) {
    await stop()
    throw error
  }
  return {
    name: 'portkey',
    version: `${PORTKEY} (@hono/node-server ${PORTKEY_SERVER})`,
    origin,
    target: {
      chat: { path: CHAT, model: 'bench', headers: headers('openai') },
      translated: { path: CHAT, model: 'bench-claude', headers: headers('anthropic') },
    },
    pids: [launched.pid],
    nameOf: () => 'portkey',
    spend: null,
    stop,
  }
}

async function installPortkey(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const manifest = {
    private: true,
    dependencies: { '@portkey-ai/gateway': PORTKEY },
    overrides: { '@hono/node-server': PORTKEY_SERVER },
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  try {
    await promisify(execFile)('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folder], {
      cwd: folder,
      timeout: 60_000,
    })
  } catch (error) {
    throw new Missing(`npm could not install @portkey-ai/gateway ${PORTKEY}: ${(error as Error).message.split('\n')[0]}`)
  }
}

interface Launched {
  child: ChildProcess
  pid: number
  /** Tries until it is so. Throws Missing, with the end of the log, when the process ends or the limit passes first. */
  until(test: () => Promise<boolean>): Promise<void>
}

function launch(command: string, args: string[], options: { cwd: string; env: NodeJS.ProcessEnv; log: string }): Launched {
  const log = openSync(options.log, 'w')
  const child = spawn(command, args, { cwd: options.cwd, env: options.env, stdio: ['ignore', log, log] })
  closeSync(log)
  const said = (): string => {
    const lines = readFileSync(options.log, 'utf8').trim().split('\n')
    // The message of a crash stands above its stack.
    return (lines.findLast((line) => /^\S*error\b/i.test(line)) ?? lines.slice(-3).join(' | ')).slice(0, 400)
  }
  return {
    child,
    pid: child.pid as number,
    until: async (test) => {
      for (const deadline = performance.now() + START_LIMIT; performance.now() < deadline; ) {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Missing(`it ended with ${child.exitCode ?? child.signalCode}: ${said()}`)
        if (await test().catch(() => false)) return
        await new Promise((done) => setTimeout(done, 50))
      }
      throw new Missing(`not ready within ${START_LIMIT / 1000} s: ${said()}`)
    },
  }
}

/** SIGTERM, and SIGKILL when that is not heard. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise<void>((done) => {
    child.once('exit', () => done())
  })
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT)
  await exited
  clearTimeout(timer)
}

/** The environment without anything that would point a gateway at servers, keys or providers of this machine. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR, LANG } = process.env
  const kept = Object.fromEntries(Object.entries({ PATH, HOME, TMPDIR, LANG }).filter(([, value]) => value !== undefined))
  return { ...kept, HOST: '127.0.0.1', LITELLM_LOG: 'WARNING', NODE_ENV: 'production' }
}

/** What a process is, by its command line. */
function partOf(sample: ProcessSample, otherwise: string): string {
  for (const part of ['postgres', 'nats-server', 'redis', 'valkey', 'edge', 'router', 'accounting']) {
    const word = new RegExp(`(^|[/ ])${part}(-svc)?(:|/main\\.ts|-server|\\s|$)`)
    if (word.test(sample.command)) return part.replace('-server', '')
  }
  return otherwise
}

/** A port that is free, and the next one too: a cluster takes one for each of its two edges. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = await probe(0)
    if (port !== null && port < 65_535 && (await probe(port + 1)) !== null) return port
  }
}

/** The port (0: any) when it can be listened on, else null. */
function probe(port: number): Promise<number | null> {
  return new Promise((done) => {
    const server = createServer()
    server.once('error', () => done(null))
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => done(address !== null && typeof address === 'object' ? address.port : null))
    })
  })
}

/** Short name of the checked-out commit, without asking git: the folder may be an export. */
export function commit(): string {
  try {
    const head = readFileSync(join(ROOT, '.git/HEAD'), 'utf8').trim()
    const reference = head.startsWith('ref: ') ? head.slice(5) : null
    if (reference === null) return head.slice(0, 10)
    const loose = join(ROOT, '.git', reference)
    if (existsSync(loose)) return readFileSync(loose, 'utf8').slice(0, 10)
    const packed = readFileSync(join(ROOT, '.git/packed-refs'), 'utf8')
    return (
      packed
        .split('\n')
        .find((line) => line.endsWith(` ${reference}`))
        ?.slice(0, 10) ?? ''
    )
  } catch {
    return ''
  }
}
