/** The named loads. A scenario is data; `run-scenario.ts` knows how to run each kind. */
export interface Scenario {
  name: string
  /** What it shows, for the table. */
  title: string
  /**
   * `closed`: `connections` clients as fast as answers come. `open`: `rate` calls per second. `paired`: one connection, direct and
   * through the gateway by turns, `calls` pairs. `held`: `calls` streams opened and kept.
   */
  kind: 'closed' | 'open' | 'paired' | 'held'
  /** How the gateway is set up; scenarios of one setup share one start of it. */
  setup: Setup
  model: Model
  /** Deployments in the model's group; 0: the model as it is. */
  group: number
  /** Keys over which the calls are spread evenly; 0: one. */
  keys: number
  stream: boolean
  /** What the provider does: a script for the body marker, see `script.ts`. */
  script: string
  /** Characters of prompt. */
  prompt: number
  connections: number
  /** Calls per second (open; `half`: of what `unary-32` reached on the same topology), streams opened per second (held). */
  rate: number | 'half'
  /** Milliseconds, and those that do not count before. */
  duration: number
  warmup: number
  /** Pairs, or streams. */
  calls: number
  /** After a closed load: so many pairs on one connection, direct and through the gateway by turns, for the added latency. */
  pairs: number
  /** Leave each stream after so many chunks; 0: never. */
  abortAfter: number
  /** Part of a plain run; of `--quick`; of `--all`. Others run when named. */
  usual: boolean
  quick: boolean
  all: boolean
}

/**
 * `plain`: one virtual key with a budget. `fresh`: the same, just started. `full`: everything on. `off`: master key, nothing limited.
 * `cache`: answers are cached. `deployments`: groups of several. `keys`: a table of a million. `routers-N`: a cluster with so many.
 */
export const SETUPS = [
  'plain',
  'fresh',
  'full',
  'off',
  'cache',
  'deployments',
  'keys',
  'routers-1',
  'routers-2',
  'routers-3',
  'routers-4',
] as const
export type Setup = (typeof SETUPS)[number]

/** `chat`: OpenAI's dialect on both sides. `translated`: OpenAI client, Anthropic provider. `messages`: Anthropic client, OpenAI provider. */
export type Model = 'chat' | 'translated' | 'messages'

const BASE: Scenario = {
  name: '',
  title: '',
  kind: 'closed',
  setup: 'plain',
  model: 'chat',
  group: 0,
  keys: 0,
  stream: false,
  script: '',
  prompt: 1_500,
  connections: 1,
  rate: 0,
  duration: 2_500,
  warmup: 700,
  calls: 0,
  pairs: 150,
  abortAfter: 0,
  usual: false,
  quick: false,
  all: true,
}

function scenario(fields: Partial<Scenario> & { name: string; title: string }): Scenario {
  return { ...BASE, ...fields }
}

/** 32 connections without a stream: what most setups are compared by. */
function load(name: string, title: string, fields: Partial<Scenario> = {}): Scenario {
  return scenario({ name, title, connections: 32, ...fields })
}

/** Deltas of 16 digits that tell when each was written. Calls are left when the time is up, so that thousands of streams take no longer than one. */
function stream(name: string, title: string, connections: number, script: string, fields: Partial<Scenario> = {}): Scenario {
  const many = connections >= 1_000
  return scenario({
    name,
    title,
    stream: true,
    script,
    connections,
    warmup: many ? 2_500 : 1_000,
    duration: 3_000,
    prompt: many ? 200 : 1_500,
    ...fields,
  })
}

const PACED = 'chunks=64,interval=20,text=stamp'
const FAST = 'chunks=500,text=stamp'

export const SCENARIOS: readonly Scenario[] = [
  // First, because its warm-up compiles the gateway's hot path for those after it: a router of a cluster still compiled a fifth of its time after 3 s.
  load('unary-32', 'unary, 32 connections', { warmup: 10_000, duration: 5_000, usual: true, quick: true }),
  scenario({
    name: 'unary-paired',
    title: 'unary, 1 connection, against direct',
    kind: 'paired',
    calls: 1_500,
    duration: 4_000,
    warmup: 300,
    usual: true,
    quick: true,
  }),
  scenario({ name: 'unary-1', title: 'unary, 1 connection', duration: 2_000, warmup: 300, pairs: 0 }),
  scenario({ name: 'unary-256', title: 'unary, 256 connections', connections: 256, usual: true, pairs: 0 }),
  scenario({
    name: 'unary-open',
    title: 'unary, 1,000 calls per second',
    kind: 'open',
    rate: 1_000,
    connections: 256,
    usual: true,
  }),
  scenario({
    name: 'open-3000',
    title: 'unary, 3,000 calls per second',
    kind: 'open',
    rate: 3_000,
    connections: 256,
    usual: true,
  }),
  scenario({
    name: 'open-half',
    title: 'unary, half of the most calls per second',
    kind: 'open',
    rate: 'half',
    connections: 256,
  }),
  load('request-500', 'request of 0.5 KB', { prompt: 420 }),
  load('request-30k', 'request of 30 KB', { prompt: 30_000, usual: true }),
  load('request-300k', 'request of 300 KB', { prompt: 300_000 }),
  load('answer-1k', 'answer of 1 KB', { script: 'bytes=1k,size=64' }),
  load('answer-100k', 'answer of 100 KB', { script: 'bytes=100k,size=64', usual: true }),
  load('translated-32', 'OpenAI client, Anthropic provider', { model: 'translated', usual: true }),
  load('messages-32', 'Anthropic client, OpenAI provider', { model: 'messages', usual: true }),
  scenario({
    name: 'stream-paired',
    title: 'short stream, 1 connection, against direct',
    kind: 'paired',
    stream: true,
    script: 'chunks=4,interval=2,text=stamp',
    calls: 250,
    duration: 5_000,
    warmup: 200,
    usual: true,
    quick: true,
  }),
  stream('stream-paced-1', '64 deltas at 20 ms, 1 stream', 1, PACED),
  stream('stream-paced', '64 deltas at 20 ms, 100 streams', 100, PACED, { usual: true, quick: true }),
  stream('stream-paced-1000', '64 deltas at 20 ms, 1,000 streams', 1_000, PACED),
  stream('stream-paced-10000', '64 deltas at 20 ms, 10,000 streams', 10_000, PACED),
  stream('stream-fast-1', '500 deltas unpaced, 1 stream', 1, FAST),
  stream('stream-fast', '500 deltas unpaced, 8 streams', 8, FAST, { usual: true }),
  stream('stream-fast-100', '500 deltas unpaced, 100 streams', 100, FAST),
  stream('stream-fast-1000', '500 deltas unpaced, 1,000 streams', 1_000, FAST),
  stream('stream-fast-10000', '500 deltas unpaced, 10,000 streams', 10_000, FAST),
  stream('stream-translated', '64 deltas at 20 ms from Anthropic, 100 streams', 100, PACED, { model: 'translated' }),
  stream('stream-messages', '64 deltas at 20 ms to an Anthropic client, 100 streams', 100, PACED, { model: 'messages' }),
  scenario({
    name: 'stream-left',
    title: 'streams left after 3 deltas, 32 clients',
    stream: true,
    script: 'chunks=100,interval=5',
    abortAfter: 3,
    connections: 32,
    duration: 2_000,
    all: false,
  }),
  scenario({
    name: 'held',
    title: '10,000 streams open at once',
    kind: 'held',
    setup: 'fresh',
    stream: true,
    // A delta every 20 seconds: the streams are alive, the machine measures memory and not work.
    script: 'chunks=30,interval=20000',
    prompt: 200,
    calls: 10_000,
    rate: 2_000,
    duration: 25_000,
    usual: true,
  }),
  load('full-32', 'everything on, one call in a hundred traced', { setup: 'full', warmup: 8_000, usual: true }),
  stream('full-stream', 'everything on, one in a hundred traced, 64 deltas at 20 ms, 100 streams', 100, PACED, { setup: 'full' }),
  load('off-32', 'master key, nothing limited', { setup: 'off', warmup: 2_500, usual: true }),
  load('cached-32', 'answer from the cache', { setup: 'cache', warmup: 2_500, usual: true }),
  ...[1, 10, 100, 1_000].map((group) =>
    load(`deployments-${group}`, `deployments in the group: ${group.toLocaleString('en-US')}`, {
      setup: 'deployments',
      group,
      warmup: group === 1 ? 2_500 : 1_000,
    }),
  ),
  ...[1, 1_000, 100_000, 1_000_000].map((keys) =>
    load(`keys-${keys}`, `calls spread over keys: ${keys.toLocaleString('en-US')}`, {
      setup: 'keys',
      keys,
      // A thousand keys are all called before it counts; of more, nearly every call that counts is a key's first, which is looked up.
      warmup: keys === 1 ? 2_500 : 1_000,
    }),
  ),
  ...([1, 2, 3, 4] as const).map((routers) =>
    load(`routers-${routers}`, `cluster with routers: ${routers}`, { setup: `routers-${routers}`, warmup: 2_500 }),
  ),
  load('big-request', '16 MB request', { prompt: 16 * 1024 * 1024, connections: 1, warmup: 0, pairs: 0, all: false }),
  load('big-answer', '16 MB answer', { script: 'bytes=16m,size=64k', connections: 1, warmup: 0, pairs: 0, all: false }),
]

/** The body of the scenario's call. `extra` goes beside the model and the messages. */
export function bodyOf(
  scenario: Scenario,
  model: string,
  dialect: 'openai' | 'anthropic' = 'openai',
  extra: Record<string, unknown> = {},
): string {
  const marker = scenario.script === '' ? '' : `[[upstream ${scenario.script}]] `
  const words = 'how many carts went through the gate today, and what did each of them pay? '
  const content = marker + words.repeat(Math.ceil(scenario.prompt / words.length)).slice(0, scenario.prompt)
  const body = { model, messages: [{ role: 'user', content }], ...(scenario.stream ? { stream: true } : {}), ...extra }
  // Anthropic's dialect has no call without a limit.
  return JSON.stringify(dialect === 'anthropic' ? { ...body, max_tokens: 4_096 } : body)
}
