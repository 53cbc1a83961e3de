import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Session } from './target.ts'

/** Keys of the providers behind it; nowhere may they be seen. */
const PROVIDER_KEY = 'sk-provider-c0ffee5ecret'
/** Names by which the built-in mock answers, and others that are translated for a provider which refuses whatever it gets. */
export const MOCKED = 'mock'
export const TRANSLATED: readonly string[] = [
  'to-openai',
  'to-anthropic',
  'to-gemini',
  'to-bedrock',
  'to-cohere',
  'to-mistral',
  'to-ollama',
  'to-responses',
]

/** A gateway in a process of its own, as those see it who strike it. */
export interface FuzzedGateway {
  readonly url: string
  readonly port: number
  readonly masterKey: string
  /** A key that may call every model and nothing else. */
  readonly key: string
  /** What its log told since this was last asked that a client's input must not cause; empty when nothing. */
  complaints(): string[]
  /** Texts that must not reach a client or the log. */
  readonly secrets: readonly string[]
  /** What is wrong with a text that a client got; null when nothing is. */
  leak(text: string): string | null
  /** A request to a path; once more where the connection it was to use had just been closed for its silence. */
  ask(path: string, init?: RequestInit): Promise<Response>
  memory(): Promise<number>
  /** Whether it is there and answers a plain call; else what is wrong. */
  answers(): Promise<string | null>
  stop(): Promise<void>
}

/** What a client should never read: words of our runtime, our files, our database. */
const INSIDES =
  /\bat [\w.<>]+ \(?(?:file:|\/)|node_modules|\.ts:\d+|is not a function|Cannot (?:read|set|convert|destructure|mix)|is not iterable|undefined \(|\[object Object\]|is not defined|Maximum call stack|\b(?:SELECT|INSERT INTO|UPDATE|DELETE FROM)\b .*\$1|relation "|invalid input syntax|violates .* constraint|duplicate key value|out of range for type|invalid byte sequence/

/** Starts one. `databaseUrl`: null = with a PostgreSQL of its own. */
export async function startFuzzedGateway(databaseUrl: string | null): Promise<FuzzedGateway> {
  const directory = mkdtempSync(join(tmpdir(), 'turnpike-fuzz-'))
  chmodSync(directory, 0o711)
  const provider = await startRefusing()
  const configFile = join(directory, 'config.yaml')
  writeFileSync(configFile, configOf(provider.url))
  const child = fork(new URL('gateway-process.ts', import.meta.url), { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
  const log = watchLog(child)
  child.send({ configFile, dataDirectory: join(directory, 'data'), databaseUrl })
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const gone = once(child, 'exit')
      child.send('stop')
      await gone
    }
    provider.close()
    rmSync(directory, { recursive: true, force: true })
  }
  const [ready] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [
    { url: string; masterKey: string } | number,
  ]
  if (typeof ready !== 'object') {
    provider.close()
    throw new Error(`the gateway did not start: ${log.all().join('\n')}`)
  }
  const { url, masterKey } = ready
  const made = await fetch(`${url}/key/generate`, {
    method: 'POST',
    headers: { authorization: `Bearer ${masterKey}`, 'content-type': 'application/json' },
    body: '{}',
  })
  const { key } = (await made.json()) as { key: string }
  const secrets = [masterKey, key, PROVIDER_KEY]
  return {
    url,
    port: Number(new URL(url).port),
    masterKey,
    key,
    secrets,
    complaints: () => log.complaints(secrets),
    leak(text) {
      const secret = secrets.findIndex((one) => text.includes(one))
      if (secret >= 0) return `it tells a secret: ${['the master key', 'the key', "the provider's key"][secret]}`
      const inside = INSIDES.exec(text)
      return inside === null ? null : `it tells of our insides: ${inside[0]}`
    },
    ask: (path, init) => ask(`${url}${path}`, init),
    async memory() {
      child.send('memory')
      const [{ held }] = (await once(child, 'message')) as [{ held: number; rss: number }]
      return held
    },
    async answers() {
      if (child.exitCode !== null || child.signalCode !== null) return `it ended with ${child.signalCode ?? child.exitCode}`
      const response = await ask(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model: MOCKED, messages: [{ role: 'user', content: 'Still there?' }] }),
        signal: AbortSignal.timeout(10_000),
      }).catch((error: unknown) => String(error))
      if (typeof response === 'string') return `it does not answer: ${response}`
      const text = await response.text()
      return response.status === 200 ? null : `a plain call is answered ${response.status}: ${text.slice(0, 200)}`
    },
    stop,
  }
}

/** A target that is this gateway: it stays up for the others that strike it. */
export function sessionOn(gateway: FuzzedGateway, { make, run }: Pick<Session, 'make' | 'run'>): Session {
  return {
    make,
    run,
    memory: () => gateway.memory(),
    async check() {
      const dead = await gateway.answers()
      return [...gateway.complaints(), ...(dead === null ? [] : [dead])]
    },
    close: async () => undefined,
  }
}

/** Connections that a long target left idle are closed by then, of which this process hears only when it writes. */
const STALE: ReadonlySet<string | undefined> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(url, init)
  } catch (error) {
    const cause = (error as Error).cause as { code?: string } | undefined
    if (!STALE.has(cause?.code)) throw error
    return fetch(url, init)
  }
}

function configOf(provider: string): string {
  const at = `api_base: ${provider}, api_key: ${PROVIDER_KEY}`
  return `model_list:
  - {model_name: ${MOCKED}, litellm_params: {model: mock/mock}}
  - {model_name: dall-e-2, litellm_params: {model: mock/mock}}
  - {model_name: omni-moderation-latest, litellm_params: {model: mock/mock}}
  - {model_name: to-openai, litellm_params: {model: openai/gpt-4o, ${at}}}
  - {model_name: to-responses, litellm_params: {model: openai/responses/gpt-5, ${at}}}
  - {model_name: to-anthropic, litellm_params: {model: anthropic/claude-sonnet-4-5, ${at}}}
  - {model_name: to-gemini, litellm_params: {model: gemini/gemini-2.5-pro, ${at}}}
  - {model_name: to-bedrock, litellm_params: {model: bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0, api_base: ${provider}, aws_access_key_id: A, aws_secret_access_key: ${PROVIDER_KEY}, aws_region_name: us-east-1}}
  - {model_name: to-cohere, litellm_params: {model: cohere/command-r-plus, ${at}}}
  - {model_name: to-mistral, litellm_params: {model: mistral/mistral-large-latest, ${at}}}
  - {model_name: to-ollama, litellm_params: {model: ollama_chat/llama3.2, api_base: ${provider}}}
router_settings: {num_retries: 0, disable_cooldowns: true}
litellm_settings: {cache: true, cache_params: {type: local}}
`
}

/** A provider that reads every request whole and refuses it as a bad one. */
async function startRefusing(): Promise<{ url: string; close(): void }> {
  const body = '{"error":{"message":"refused","type":"invalid_request_error","code":"bad"}}'
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(400, { 'content-type': 'application/json' }).end(body))
    request.on('error', () => response.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** Reads what a process prints. Lines of level `error`, lines that are no log at all, and secrets are complaints. */
function watchLog(child: ChildProcess): { complaints(secrets: readonly string[]): string[]; all(): string[] } {
  const kept: string[] = []
  let fresh: string[] = []
  const take = (line: string): void => {
    kept.push(line)
    fresh.push(line)
    if (kept.length > 200) kept.shift()
  }
  if (child.stdout !== null) createInterface({ input: child.stdout }).on('line', take)
  if (child.stderr !== null) createInterface({ input: child.stderr }).on('line', take)
  return {
    all: () => kept,
    complaints(secrets) {
      const lines = fresh
      fresh = []
      return lines.flatMap((line) => {
        if (secrets.some((secret) => line.includes(secret))) return ['a secret in the log']
        const level = levelOf(line)
        return level === null || level >= 50 ? [`logged: ${line.slice(0, 1500)}`] : []
      })
    },
  }
}

function levelOf(line: string): number | null {
  try {
    return (JSON.parse(line) as { level?: number }).level ?? null
  } catch {
    return null
  }
}
