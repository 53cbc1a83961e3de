import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where a test run keeps what its processes write; null outside of one. */
export function outputDirectory(): string | null {
  const directory = process.env['TURNPIKE_TEST_OUTPUT']
  return directory !== undefined && existsSync(directory) ? directory : null
}

/** Files of `directory` that hold secrets, not output. */
const REGISTER = '.secrets'
/** Shorter ones stand in other words. */
const SHORTEST = 10
/** What a key of ours looks like, and an address with a password in it. */
const KEY = /\bsk-[A-Za-z0-9_-]{10,}/g
const PASSWORD = /\b(?:postgres(?:ql)?|redis|rediss|nats|tls):\/\/[^\s:/@"']*:([^\s/@"'*]{3,})@/g
/** What `start` shows on the terminal once, when it has made the master key: the one place where a key is meant to be read. */
const GREETING =
  /^ {2}(?:master key {5}sk-\S+ {2}\(kept in |curl (?:-N )?http:\/\/127\.0\.0\.1:\d+\/\S+ -H "Authorization: Bearer sk-[^"]+")/
/** Random keys have all of these; names of models and tests do not. */
const RANDOM = [/[a-z]/, /[A-Z]/, /\d/, /^sk-.{20,}$/]

/** Remembers a secret of this run. Does nothing outside of one. */
export function registerSecret(...secrets: readonly (string | null | undefined)[]): void {
  const directory = outputDirectory()
  if (directory === null) return
  const long = secrets.filter((secret): secret is string => typeof secret === 'string' && secret.length >= SHORTEST)
  if (long.length > 0) appendFileSync(join(directory, `${process.pid}${REGISTER}`), `${long.join('\n')}\n`, { mode: 0o600 })
}

/** Values of fields that hold credentials, in the text of a configuration. */
export function secretsIn(config: string): string[] {
  const fields = config.matchAll(
    /["']?\b\w*(?:api_key|master_key|salt_key|password|secret\w*|token)["']?\s*:\s*(?:"([^"]+)"|'([^']+)'|([^\s,}'"]+))/gi,
  )
  return [...fields]
    .map(([, double, single, plain]) => double ?? single ?? plain ?? '')
    .filter((value) => !value.startsWith('os.environ/'))
}

/** Adds the logs of servers, which do not write by a process of ours. */
export function keepLogs(from: string): void {
  const directory = outputDirectory()
  if (directory === null || !existsSync(from)) return
  for (const path of readdirSync(from, { recursive: true }) as string[]) {
    const file = join(from, path)
    if (
      !/\.log$|(?:^|\/)log$/.test(path) ||
      /(?:^|\/)pg_wal\//.test(path) ||
      !statSync(file, { throwIfNoEntry: false })?.isFile()
    )
      continue
    appendFileSync(join(directory, 'servers.out'), readFileSync(file))
  }
}

export interface Scan {
  /** File, line and what kind of secret, never the secret. */
  found: string[]
  files: number
  bytes: number
  secrets: number
}

/** Looks for every registered secret, and for whatever looks like one, in all that was written. */
export function scanOutput(directory: string): Scan {
  const names = readdirSync(directory)
  const secrets = new Set(
    names
      .filter((name) => name.endsWith(REGISTER))
      .flatMap((name) => readFileSync(join(directory, name), 'utf8').split('\n').filter(Boolean)),
  )
  // Keys of ours are found by their form, which is one pass for thousands of them.
  const others = [...secrets].filter((secret) => !/^sk-[A-Za-z0-9_-]+$/.test(secret))
  const scan: Scan = { found: [], files: 0, bytes: 0, secrets: secrets.size }
  for (const name of names.filter((one) => one.endsWith('.out'))) {
    const text = readFileSync(join(directory, name), 'utf8')
    scan.files += 1
    scan.bytes += text.length
    const note = (at: number, what: string): void => {
      const begin = text.lastIndexOf('\n', at) + 1
      const line = text.slice(begin, Math.min(text.length, begin + 200))
      scan.found.push(`${name}:${text.slice(0, at).split('\n').length}: ${what}: ${masked(line, [...secrets])}`)
    }
    for (const match of text.matchAll(KEY)) {
      const begin = text.lastIndexOf('\n', match.index) + 1
      if (GREETING.test(text.slice(begin, match.index + match[0].length + 20))) continue
      if (secrets.has(match[0])) note(match.index, 'a key')
      else if (RANDOM.every((part) => part.test(match[0]))) note(match.index, 'what looks like a key')
    }
    for (const match of text.matchAll(PASSWORD)) note(match.index, 'an address with its password')
    for (const secret of others) {
      const at = text.indexOf(secret)
      if (at >= 0) note(at, 'a credential of a configuration')
    }
  }
  return scan
}

function masked(line: string, secrets: readonly string[]): string {
  let text = line.replace(KEY, 'sk-…')
  for (const secret of secrets) text = text.replaceAll(secret, '…')
  return text.replace(PASSWORD, (address) => `${address.slice(0, 12)}…`)
}

/** A folder for one run, empty. */
export function openOutput(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  writeFileSync(join(directory, 'begun.out'), '')
}
