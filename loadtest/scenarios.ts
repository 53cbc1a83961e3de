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
  /** Which model: `chat` is an OpenAI-compatible provider, `translated` an Anthropic one called in OpenAI's dialect. */
  model: 'chat' | 'translated'
  stream: boolean
  /** What the provider does: a script for the body marker, see `script.ts`. */
  script: string
  /** Characters of prompt. */
  prompt: number
  connections: number
  /** Calls per second (open), streams opened per second (held). */
  rate: number
  /** Milliseconds, and those that do not count before. */
  duration: number
  warmup: number
  /** Pairs, or streams. */
  calls: number
  /** Leave each stream after so many chunks; 0: never. */
  abortAfter: number
  /** On a gateway just started: memory is measured against one that holds nothing yet. */
  fresh: boolean
  /** Part of a plain run; of `--quick`. Others run when named. */
  usual: boolean
  quick: boolean
}

const BASE: Scenario = {
  name: '',
  title: '',
  kind: 'closed',
  model: 'chat',
  stream: false,
  script: '',
  prompt: 1_500,
  connections: 1,
  rate: 0,
  duration: 4_000,
  warmup: 1_000,
  calls: 0,
  abortAfter: 0,
  fresh: false,
  usual: true,
  quick: false,
}

function scenario(fields: Partial<Scenario> & { name: string; title: string }): Scenario {
  return { ...BASE, ...fields }
}

export const SCENARIOS: readonly Scenario[] = [
  // First, because its warm-up compiles the gateway's hot path for those after it.
  scenario({ name: 'unary-32', title: 'unary, 32 connections', connections: 32, warmup: 3_000, duration: 5_000, quick: true }),
  scenario({
    name: 'unary-paired',
    title: 'unary, 1 connection, against direct',
    kind: 'paired',
    calls: 1_500,
    duration: 8_000,
    warmup: 300,
    quick: true,
  }),
  scenario({ name: 'unary-1', title: 'unary, 1 connection', duration: 2_500, warmup: 300, usual: false }),
  scenario({ name: 'unary-256', title: 'unary, 256 connections', connections: 256, usual: false }),
  scenario({
    name: 'unary-open',
    title: 'unary, 1,000 calls per second',
    kind: 'open',
    rate: 1_000,
    connections: 256,
    duration: 4_000,
  }),
  scenario({
    name: 'translated-32',
    title: 'unary to Anthropic, 32 connections',
    model: 'translated',
    connections: 32,
    duration: 3_000,
  }),
  scenario({
    name: 'stream-paired',
    title: 'short stream, 1 connection, against direct',
    kind: 'paired',
    stream: true,
    script: 'chunks=4,interval=2,text=stamp',
    calls: 250,
    duration: 6_000,
    warmup: 200,
    quick: true,
  }),
  scenario({
    name: 'stream-paced',
    title: '64 deltas at 20 ms, 100 streams',
    stream: true,
    script: 'chunks=64,interval=20,text=stamp',
    connections: 100,
    duration: 5_000,
    warmup: 1_500,
    quick: true,
  }),
  scenario({
    name: 'stream-fast',
    title: '500 deltas unpaced, 8 streams',
    stream: true,
    script: 'chunks=500,size=12',
    connections: 8,
    duration: 3_000,
    warmup: 500,
  }),
  scenario({
    name: 'stream-left',
    title: 'streams left after 3 deltas, 32 clients',
    stream: true,
    script: 'chunks=100,interval=5',
    abortAfter: 3,
    connections: 32,
    duration: 2_000,
    usual: false,
  }),
  scenario({
    name: 'held',
    title: '10,000 streams open at once',
    kind: 'held',
    stream: true,
    // A delta every 20 seconds: the streams are alive, the machine measures memory and not work.
    script: 'chunks=30,interval=20000',
    prompt: 200,
    calls: 10_000,
    rate: 2_000,
    duration: 25_000,
    fresh: true,
  }),
  scenario({ name: 'big-request', title: '16 MB request', prompt: 16 * 1024 * 1024, duration: 3_000, warmup: 0, usual: false }),
  scenario({ name: 'big-answer', title: '16 MB answer', script: 'bytes=16m,size=64k', duration: 3_000, warmup: 0, usual: false }),
]

/** The body of the scenario's call, in OpenAI's dialect. */
export function bodyOf(scenario: Scenario, model: string): string {
  const marker = scenario.script === '' ? '' : `[[upstream ${scenario.script}]] `
  const words = 'how many carts went through the gate today, and what did each of them pay? '
  const content = marker + words.repeat(Math.ceil(scenario.prompt / words.length)).slice(0, scenario.prompt)
  return JSON.stringify({ model, messages: [{ role: 'user', content }], ...(scenario.stream ? { stream: true } : {}) })
}
