import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { silentLog } from '../shared/log.ts'
import { formatDollars } from '../shared/money.ts'

const USAGE = `Usage: npm run prove -- [options]

Sends a load through the running gateway to a provider of its own and compares what that provider served with holds, ledger, sums and
counters. Prints four numbers, all 0 when well; then the exit code is 0, else 1.

  --url URL         the gateway; else TURNPIKE_URL, else http://localhost:4000
  --key KEY         an admin's key; else LITELLM_MASTER_KEY, else the one kept in the data folder (TURNPIKE_DATA, .turnpike)
  --calls N         1000
  --concurrency N   64
  --budget DOLLARS  what the calls may spend; else 80 % of what all of them cost
  --seed N          1; another one makes other calls
  --start           prove a gateway of its own, started for it in a temporary folder`

const OPTIONS = {
  url: { type: 'string' },
  key: { type: 'string' },
  calls: { type: 'string' },
  concurrency: { type: 'string' },
  budget: { type: 'string' },
  seed: { type: 'string' },
  start: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

/** What POST /prove answers, as far as it is printed. */
interface Report {
  id: string
  passed: boolean
  overspend: number
  lost: number
  duplicate: number
  cost_error: number
  differences: { what: string; expected: number; found: number }[]
  problems: string[]
  offenders: { lost: string[]; duplicate: string[]; cost_error: string[] }
  budget_nano: number
  spent_nano: number
  calls: { made: number; answered: number; refused: number; left: number; cut: number; failed: number }
  reasons: Record<string, number>
  provider: { requests: number; failed: number }
  ledger: { entries: number; billed: number; estimated: number; presumed: number }
  load_ms: number
  settle_ms: number
}

/** What an operator can mend; told without a stack. */
class Told extends Error {}

/** Keys kept by a gateway of one process and by a cluster on this machine. */
function keptKeys(): string[] {
  const data = process.env['TURNPIKE_DATA'] ?? '.turnpike'
  return [join(data, 'master-key'), join(data, 'cluster', 'master-key')]
    .filter((file) => existsSync(file))
    .map((file) => readFileSync(file, 'utf8').trim())
}

async function main(): Promise<boolean> {
  const values = parse(process.argv.slice(2))
  if (values.help) {
    console.log(USAGE)
    return true
  }
  const request = {
    ...numbered(values.calls, 'calls'),
    ...numbered(values.concurrency, 'concurrency'),
    ...numbered(values.budget, 'budget'),
    ...numbered(values.seed, 'seed'),
  }
  if (values.start) return proveOwn(request)
  const url = (values.url ?? process.env['TURNPIKE_URL'] ?? 'http://localhost:4000').replace(/\/+$/, '')
  const given = values.key ?? process.env['LITELLM_MASTER_KEY']
  const keys = given === undefined || given === '' ? keptKeys() : [given]
  if (keys.length === 0) throw new Told(`There is no key: give --key or LITELLM_MASTER_KEY.\n\n${USAGE}`)
  return print(await ask(url, keys, request))
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS }).values
  } catch (error) {
    throw new Told(`${(error as Error).message}\n\n${USAGE}`)
  }
}

function numbered(text: string | undefined, name: string): Record<string, number> {
  if (text === undefined) return {}
  const number = Number(text)
  if (text.trim() === '' || !Number.isFinite(number)) throw new Told(`--${name}: "${text}" is not a number.\n\n${USAGE}`)
  return { [name]: number }
}

/** Starts a gateway that nobody else uses, proves it, and takes it away again. */
async function proveOwn(request: object): Promise<boolean> {
  const { startEmbedded } = await import('./embedded.ts')
  const directory = mkdtempSync(join(tmpdir(), 'turnpike-prove-'))
  // Root's PostgreSQL runs under another account, which must pass through.
  chmodSync(directory, 0o711)
  console.log('Starting a gateway in a temporary folder …')
  try {
    const { PATH, HOME } = process.env
    const gateway = await startEmbedded({
      env: { PATH, HOME },
      host: '127.0.0.1',
      port: 0,
      dataDirectory: join(directory, 'data'),
      log: silentLog,
    })
    try {
      return print(await ask(gateway.url, [gateway.masterKey], request))
    } finally {
      await gateway.stop()
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Runs the self-test on the gateway, with the first of the keys it takes. Throws Told. */
async function ask(url: string, keys: readonly string[], request: object): Promise<Report> {
  console.log(`Proving ${url} …`)
  let refusal = ''
  for (const key of keys) {
    const response = await fetch(`${url}/prove`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(request),
    }).catch((error: unknown) => {
      throw new Told(
        `No gateway answers at ${url} (${causeOf(error)}).\nStart one with \`npm start\` or \`npm run cluster\`, name another with --url, or prove one that is started for it: npm run prove -- --start`,
      )
    })
    const text = await response.text()
    if (response.ok) return JSON.parse(text) as Report
    refusal = `${url}/prove answered ${response.status}: ${messageOf(text)}`
    if (response.status !== 401) break
  }
  throw new Told(refusal)
}

function causeOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(error)
}

function messageOf(text: string): string {
  try {
    const { error, detail } = JSON.parse(text) as { error?: { message?: string }; detail?: unknown }
    return error?.message ?? JSON.stringify(detail)
  } catch {
    return text.slice(0, 200)
  }
}

/** The four numbers and what they are of. Whether all is well. */
function print(report: Report): boolean {
  const { calls, provider, ledger, offenders } = report
  const lines = [
    [
      'calls',
      `${calls.made} in ${seconds(report.load_ms)}: ${calls.answered} answered, ${calls.refused} refused, ${calls.left} left by the client, ${calls.cut} cut, ${calls.failed} failed`,
    ],
    ['provider', `${provider.requests} requests, ${provider.failed} of them failed on purpose`],
    [
      'ledger',
      `${ledger.entries} entries, ${ledger.billed} billed, ${ledger.estimated} of them by estimate (${ledger.presumed} never reached the provider); settled after ${seconds(report.settle_ms)}`,
    ],
    ['spent', `$${formatDollars(report.spent_nano)} of $${formatDollars(report.budget_nano)}`],
    ...(calls.failed + calls.cut > 0
      ? [
          [
            'reasons',
            Object.entries(report.reasons)
              .map(([reason, times]) => `${reason} ${times}`)
              .join(', '),
          ],
        ]
      : []),
    [],
    ['overspend', `${report.overspend} nano-dollars`],
    ['lost', `${report.lost}${examples(offenders.lost)}`],
    ['duplicate', `${report.duplicate}${examples(offenders.duplicate)}`],
    ['cost error', `${report.cost_error} nano-dollars${examples(offenders.cost_error)}`],
    [],
    ...report.differences.map(({ what, expected, found }) => ['differs', `${what}: ${found}, the ledger says ${expected}`]),
    ...report.problems.map((problem) => ['problem', problem]),
  ]
  console.log(`\nRun ${report.id}\n`)
  for (const [name = '', text = ''] of lines) console.log(name === '' ? '' : `  ${name.padEnd(12)}${text}`)
  console.log(report.passed ? 'Everything adds up.' : 'The books do not add up.')
  return report.passed
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`
}

function examples(callIds: readonly string[]): string {
  return callIds.length === 0 ? '' : ` (${callIds.slice(0, 3).join(', ')}${callIds.length > 3 ? ', …' : ''})`
}

await main().then(
  (passed) => {
    process.exitCode = passed ? 0 : 1
  },
  (error: unknown) => {
    const known =
      error instanceof Told || (error instanceof Error && (error.name === 'StartError' || error.name === 'ConfigError'))
    console.error(known ? (error as Error).message : error)
    process.exitCode = 1
  },
)
