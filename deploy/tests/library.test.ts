import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ROOT } from './sources.ts'

/** A program as users write it: keys from the environment, no call to `close`. Its last line is what it found. */
const PROGRAM = `
import { completion, completionCost, createRouter, embedding, Router, TurnpikeError } from 'turnpike'
const messages = [{ role: 'user', content: 'hello' }]
const found = {}
const answer = await completion({ model: 'openai/gpt-4o', messages })
found.openai = [answer.choices[0].message.content, completionCost(answer)]
const stream = await completion({ model: 'anthropic/claude-sonnet-4-5', messages, stream: true })
found.anthropic = ''
for await (const chunk of stream) found.anthropic += chunk.choices[0]?.delta.content ?? ''
found.streamed = completionCost(stream)
found.mock = (await embedding({ model: 'mock/vectors', input: ['a'] })).data.length
const router = new Router({
  model_list: [
    { model_name: 'fast', litellm_params: { model: 'openai/broken' } },
    { model_name: 'safe', litellm_params: { model: 'openai/gpt-4o', api_key: 'os.environ/OPENAI_API_KEY' } },
  ],
  num_retries: 0,
  fallbacks: [{ fast: ['safe'] }],
})
const reports = []
found.router = (await router.completion({ model: 'fast', messages, onCall: (report) => reports.push(report) })).model
found.attempts = reports[0].attempts.length
found.many = new Set((await Promise.all(Array.from({ length: 50 }, () => router.completion({ model: 'safe', messages })))).map((one) => one.id)).size
try {
  // Between two tries nothing but a timer is left of the call.
  await completion({ model: 'openai/broken', messages, num_retries: 1 })
} catch (error) {
  found.error = [error instanceof TurnpikeError, error.name, error.status]
}
const left = await completion({ model: 'openai/endless', messages, stream: true })
for await (const _ of left) break
const idle = createRouter({ model_list: [{ model_name: 'x', litellm_params: { model: 'mock/x' } }] })
found.idle = idle.problems()
console.log(JSON.stringify(found))
`

const FOUND = {
  openai: ['hi', 750_000],
  anthropic: 'bonjour',
  // 10 × $3 + 20 × $15 per million.
  streamed: 330_000,
  mock: 1,
  router: 'safe',
  attempts: 2,
  many: 1,
  error: [true, 'InternalServerError', 500],
  idle: [],
}

const CHECKED = `
import { completion, createRouter, type CallReport, type ChatChunk, type EventStream, TurnpikeError } from 'turnpike'
const messages = [{ role: 'user', content: 'hello' }]
export const text: string | null | undefined = (await completion({ model: 'mock/x', messages })).choices[0]?.message.content
const stream: EventStream<ChatChunk> = await completion({ model: 'mock/x', messages, stream: true, api_key: 'k', temperature: 0 })
for await (const chunk of stream) chunk.choices[0]?.delta.content?.length
const router = createRouter({ model_list: [{ model_name: 'x', litellm_params: { model: 'mock/x' } }], num_retries: 1, env: {} })
await router.embedding({ model: 'x', input: 'a', onCall: (report: CallReport) => report.cost?.toFixed() })
const { audio } = await router.speech({ model: 'x', input: 'a', voice: 'b' })
export const bytes: number = audio.length
export const name = (error: unknown): string | null => (error instanceof TurnpikeError ? error.provider : null)
// @ts-expect-error: a chat has messages.
await completion({ model: 'mock/x' })
// @ts-expect-error: a router needs its deployments.
createRouter({})
`

let provider: Server
let env: NodeJS.ProcessEnv
const folder = mkdtempSync(join(tmpdir(), 'turnpike-library-'))

beforeAll(async () => {
  provider = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const { model } = JSON.parse(Buffer.concat(parts).toString()) as { model: string }
      if (request.url?.endsWith('/messages')) {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).end(ANTHROPIC_STREAM)
      } else if (model === 'broken') {
        response.writeHead(500, { 'content-type': 'application/json' }).end('{"error":{"message":"fell over"}}')
      } else if (model === 'endless') {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write(ENDLESS)
      } else response.writeHead(200, { 'content-type': 'application/json' }).end(ANSWER)
    })
  })
  provider.listen(0, '127.0.0.1')
  await once(provider, 'listening')
  const url = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`
  env = {
    PATH: process.env['PATH'],
    OPENAI_API_KEY: 'sk-env',
    OPENAI_API_BASE: `${url}/v1`,
    ANTHROPIC_API_KEY: 'sk-ant',
    ANTHROPIC_API_BASE: url,
  }
})

afterAll(() => {
  provider.closeAllConnections()
  provider.close()
  rmSync(folder, { recursive: true, force: true })
})

const usage = { prompt_tokens: 100, completion_tokens: 50, total_tokens: 150 }
const message = { role: 'assistant', content: 'hi' }
const ANSWER = JSON.stringify({
  id: 'c',
  object: 'chat.completion',
  created: 1,
  model: 'gpt-4o',
  choices: [{ index: 0, message, finish_reason: 'stop' }],
  usage,
})
const ENDLESS = `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'x', choices: [{ index: 0, delta: { content: 'one' }, finish_reason: null }] })}\n\n`
const ANTHROPIC_STREAM = [
  {
    type: 'message_start',
    message: {
      id: 'm',
      type: 'message',
      role: 'assistant',
      model: 'claude-sonnet-4-5',
      content: [],
      usage: { input_tokens: 10, output_tokens: 1 },
    },
  },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'bonjour' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 20 } },
  { type: 'message_stop' },
]
  .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  .join('')

/** Runs a program to its own end; the provider here answers meanwhile. */
async function run(program: string, cwd: string): Promise<unknown> {
  const child = spawn(process.execPath, ['--input-type=module'], { cwd, env, stdio: ['pipe', 'pipe', 'pipe'] })
  let out = ''
  let err = ''
  child.stdout.on('data', (part) => {
    out += part
  })
  child.stderr.on('data', (part) => {
    err += part
  })
  child.stdin.end(program)
  const [code] = await once(child, 'close')
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out.trim().split('\n').at(-1) as string)
}

function succeed(command: string, args: string[], cwd = ROOT): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  expect([status, status === 0 ? '' : `${stdout}${stderr}`]).toEqual([0, ''])
  return stdout
}

describe('the library in this checkout', () => {
  it('calls providers under its own name, and its program ends by itself', async () => {
    expect(await run(PROGRAM, ROOT)).toEqual(FOUND)
  }, 60_000)

  it('does nothing when it is imported', async () => {
    const program = `const read = []
      process.env = new Proxy({}, { get: (_, name) => void read.push(String(name)) })
      const { completion } = await import('turnpike')
      const open = process.getActiveResourcesInfo().filter((name) => /Timeout|TCP|TLS|FSReq/.test(name))
      console.log(JSON.stringify([open, read.filter((name) => /_API_/.test(name)), typeof completion]))`
    expect(await run(program, ROOT)).toEqual([[], [], 'function'])
  }, 60_000)
})

describe('the library as a package', () => {
  const project = join(folder, 'project')
  const installed = join(project, 'node_modules/turnpike')

  beforeAll(() => {
    const built = join(folder, 'built')
    succeed(process.execPath, [join(ROOT, 'deploy/build.ts'), built])
    const packed = succeed('npm', ['pack', built, '--pack-destination', folder, '--offline', '--loglevel=error'])
    mkdirSync(installed, { recursive: true })
    succeed('tar', ['-xzf', join(folder, packed.trim()), '-C', installed, '--strip-components=1'])
    // What npm would fetch: exactly what the package says it needs, and the compiler's types for the check.
    const { dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { dependencies: object }
    for (const name of [...Object.keys(dependencies), '@types/node']) {
      const link = join(project, 'node_modules', name)
      mkdirSync(dirname(link), { recursive: true })
      symlinkSync(join(ROOT, 'node_modules', name), link)
    }
    writeFileSync(join(project, 'package.json'), '{"type":"module"}')
  }, 120_000)

  it('is used from plain JavaScript, and its program ends by itself', async () => {
    expect(await run(PROGRAM, project)).toEqual(FOUND)
  }, 60_000)

  it('brings its types', () => {
    writeFileSync(join(project, 'checked.ts'), CHECKED)
    const options = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2024',
      '--types',
      'node',
      '--exactOptionalPropertyTypes',
    ]
    succeed(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), ...options, 'checked.ts'], project)
  }, 60_000)

  it('needs nothing of a gateway: no database, bus, counters, log or metrics library', () => {
    const { dependencies, ...rest } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as Record<string, object>
    const names = Object.keys(dependencies as object)
    expect(names).toContain('undici')
    for (const name of ['pg', 'ioredis', 'msgpackr', 'pino', 'prom-client', 'yaml', 'hono', 'uWebSockets.js']) {
      expect(names).not.toContain(name)
    }
    expect(rest).not.toHaveProperty('private')
    expect(rest).not.toHaveProperty('scripts')
  })
})
