import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { once } from './connection.ts'
import { cleanEnvironment, end, freePort, launch, Missing, ROOT } from './launch.ts'
import { CHAT, type Running, targets } from './running.ts'
import type { Setup } from './scenarios.ts'
import { modelList } from './setups.ts'

/**
 * Gateways to compare with, from public package registries, kept in `.turnpike/peers`: the same provider, the same load, the settings
 * that their own documentation has for production. Each says which setups it has; the others are named as missing, with the reason.
 */
export interface Peer {
  /** Why it has no such setup; null: it has. */
  lacks(setup: Setup): string | null
  start(providerUrl: string, setup: Setup): Promise<Running>
}

/** Looked for and not to be had; told in every result. */
export const NOT_TO_BE_HAD: Record<string, string> = {
  bifrost:
    'the Go module proxy has no version of github.com/maximhq/bifrost, and its npm package 1.6.3 fetches the program from downloads.getmaxim.ai, which cannot be reached here (looked for 2026-11-22)',
  helicone: 'npm has no @helicone/ai-gateway (looked for 2026-11-22)',
}

/** Of one try while waiting for a start, in milliseconds. */
const TRY_LIMIT = 5_000
/** Milliseconds: LiteLLM's packages are some 150 MB. */
const INSTALL_LIMIT = 300_000
const PEERS = join(ROOT, '.turnpike/peers')

const PORTKEY = '1.15.2'
/** Newer ones that its range allows answer 500 to every stream. */
const PORTKEY_SERVER = '1.13.8'

const portkey: Peer = {
  lacks: (setup) =>
    setup === 'plain' || setup === 'fresh' ? null : (LACKING_PORTKEY[setup.replace(/-\d$/, '')] ?? 'it has none'),
  async start(providerUrl) {
    const folder = join(PEERS, `portkey-${PORTKEY}`)
    const script = join(folder, 'node_modules/@portkey-ai/gateway/build/start-server.js')
    if (!existsSync(script)) await installPortkey(folder)
    const port = await freePort()
    const options = { cwd: folder, env: cleanEnvironment(), log: join(folder, 'log') }
    const launched = launch(process.execPath, [script, '--headless', `--port=${port}`], options)
    const origin = `http://127.0.0.1:${port}`
    const headers = (provider: string) => ({
      authorization: 'Bearer fake',
      'x-portkey-provider': provider,
      'x-portkey-custom-host': `${providerUrl}/v1`,
    })
    const stop = () => end(launched.child)
    try {
      await launched.until(() => answers(origin, headers('openai')))
    } catch (error) {
      await stop()
      throw error
    }
    return {
      name: 'portkey',
      version: `${PORTKEY} (@hono/node-server ${PORTKEY_SERVER}), one process, headless; it has no keys, budgets or ledger`,
      origin,
      target: {
        chat: targets(headers('openai')).chat,
        translated: targets(headers('anthropic')).translated,
        // Its /v1/messages is passed on to providers that have one; it is not translated.
        messages: null,
      },
      pids: [launched.pid],
      nameOf: () => 'portkey',
      spend: null,
      stop,
    }
  },
}

const LACKING_PORTKEY: Record<string, string> = {
  full: 'it has no keys, budgets or ledger',
  off: 'it is never more than that',
  keys: 'it has no keys',
  cache: 'its cache is not part of the package',
  deployments: 'each call brings its own list of targets',
  routers: 'it is one process',
}

async function installPortkey(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const manifest = {
    private: true,
    dependencies: { '@portkey-ai/gateway': PORTKEY },
    overrides: { '@hono/node-server': PORTKEY_SERVER },
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  await install(
    '@portkey-ai/gateway',
    'npm',
    ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folder],
    folder,
  )
}

const LITELLM = '1.106.2'
/** Milliseconds: three processes that each import for ten seconds of CPU time, the first time some thousand files uncompiled. */
const LITELLM_START = 600_000
/** Versions of Python that it runs on, best first. */
const PYTHONS = ['python3.13', 'python3.12', 'python3.11', 'python3.10', 'python3']

const litellm: Peer = {
  lacks: (setup) => (LITELLM_SETUPS.has(setup) ? null : (LACKING_LITELLM[setup.replace(/-\d$/, '')] ?? 'it has none')),
  async start(providerUrl, setup) {
    const folder = join(PEERS, `litellm-${LITELLM}`)
    const program = join(folder, 'bin/litellm')
    if (!existsSync(program)) await installLitellm(folder)
    const directory = mkdtempSync(join(tmpdir(), 'turnpike-bench-litellm-'))
    const masterKey = `sk-bench-${process.pid}-${Date.now()}`
    const config = join(directory, 'config.yaml')
    writeFileSync(config, litellmConfig(providerUrl, setup, masterKey))
    const port = await freePort()
    const workers = cpus().length
    // uvicorn kills a worker that has not answered for 5 seconds, which on a busy machine is every one that is still importing.
    const patience = ['--timeout_worker_healthcheck', '120']
    const args = [
      '--config',
      config,
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--num_workers',
      String(workers),
      ...patience,
    ]
    const env = { ...cleanEnvironment(), ...LITELLM_PRODUCTION }
    const launched = launch(program, args, { cwd: directory, env, log: join(directory, 'log'), limit: LITELLM_START })
    const origin = `http://127.0.0.1:${port}`
    const headers = { authorization: `Bearer ${masterKey}` }
    const stop = async (): Promise<void> => {
      await end(launched.child)
      rmSync(directory, { recursive: true, force: true })
    }
    try {
      await launched.until(() => answers(origin, headers))
    } catch (error) {
      await stop()
      throw error
    }
    return {
      name: 'litellm',
      version: `${LITELLM}, ${workers} workers, master key, LITELLM_MODE=PRODUCTION, LITELLM_LOG=ERROR; without database: no keys, budgets or ledger`,
      origin,
      target: targets(headers),
      pids: [launched.pid],
      nameOf: ({ command }) => (/ -c from multiprocessing\.spawn/.test(command) ? 'worker' : 'supervisor'),
      spend: null,
      stop,
    }
  },
}

/** docs.litellm.ai/docs/proxy/prod; the cost map from the package, because the other is fetched from the network at every start. */
const LITELLM_PRODUCTION = { LITELLM_MODE: 'PRODUCTION', LITELLM_LOG: 'ERROR', LITELLM_LOCAL_MODEL_COST_MAP: 'True' }
const LITELLM_SETUPS = new Set<Setup>(['plain', 'fresh', 'cache', 'deployments'])
const NO_PRISMA = 'without database: Prisma downloads its engines from outside any package registry'
const LACKING_LITELLM: Record<string, string> = {
  full: NO_PRISMA,
  keys: NO_PRISMA,
  off: 'without database, setup plain is that already',
  routers: 'it has one kind of process',
}

/** The same list of models, with what its documentation has for production. */
export function litellmConfig(providerUrl: string, setup: Setup, masterKey: string): string {
  const cache = '  cache: true\n  cache_params:\n    type: local\n'
  return `${modelList(providerUrl, setup)}litellm_settings:
  request_timeout: 600
  set_verbose: false
  json_logs: true
  # Else a call in Anthropic's dialect goes to the provider's /responses, which the measured one does not have.
  use_chat_completions_url_for_anthropic_messages: true
${setup === 'cache' ? cache : ''}general_settings:
  master_key: ${masterKey}
`
}

async function installLitellm(folder: string): Promise<void> {
  const python = await firstPython()
  // A folder half filled by an install that was cut off would be taken for whole.
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(PEERS, { recursive: true })
  await install('a Python environment', python, ['-m', 'venv', folder], PEERS)
  const wanted = [`litellm[proxy]==${LITELLM}`]
  try {
    await install(
      'litellm[proxy]',
      join(folder, 'bin/pip'),
      ['install', '--disable-pip-version-check', '--quiet', ...wanted],
      folder,
    )
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

async function firstPython(): Promise<string> {
  const code = 'import sys, venv, ensurepip; sys.exit(0 if (3, 10) <= sys.version_info[:2] <= (3, 13) else 1)'
  for (const python of PYTHONS) {
    const found = await promisify(execFile)(python, ['-c', code], { timeout: 10_000 }).then(
      () => true,
      () => false,
    )
    if (found) return python
  }
  throw new Missing('LiteLLM needs Python 3.10 to 3.13 with venv, and none is on the PATH')
}

async function install(what: string, command: string, args: string[], cwd: string): Promise<void> {
  console.error(`installing ${what} …`)
  try {
    await promisify(execFile)(command, args, { cwd, timeout: INSTALL_LIMIT, maxBuffer: 64 * 1024 * 1024 })
  } catch (error) {
    throw new Missing(
      `${what} could not be installed: ${(error as Error).message.trim().split('\n').slice(0, 2).join(' ').slice(0, 300)}`,
    )
  }
}

async function answers(origin: string, headers: Record<string, string>): Promise<boolean> {
  const body = JSON.stringify({ model: 'bench', messages: [{ role: 'user', content: 'hello' }] })
  return (await once({ origin, path: CHAT, headers, body }, TRY_LIMIT)).status === 200
}

export const PEER_GATEWAYS: Record<string, Peer> = { portkey, litellm }
