import { Registry } from 'prom-client'

/**
 * Metrics. Counting is an addition in a typed array behind a handle that the caller may keep; text is made at scrape time. Names and
 * labels are LiteLLM's (surface reference §9.4) and exist in this file only.
 */

const KEY = ['hashed_api_key', 'api_key_alias'] as const
const TEAM = ['team', 'team_alias'] as const
const DEPLOYMENT = ['litellm_model_name', 'model_id', 'api_base', 'api_provider'] as const
const CALL = ['end_user', ...KEY, 'requested_model', ...TEAM, 'user'] as const
const SERVED = ['end_user', ...KEY, 'model', ...TEAM, 'user', 'user_email', 'client_ip', 'user_agent', 'model_id'] as const
const TOKENS = ['end_user', ...KEY, 'model', ...TEAM, 'user', 'user_email', 'requested_model', 'model_id'] as const
const LATENCY = ['model', ...KEY, ...TEAM, 'requested_model', 'end_user', 'user', 'model_id'] as const
const TOTAL_LATENCY = [...CALL, 'model', 'model_id'] as const
const OVERHEAD = ['model_group', 'api_provider', 'api_base', 'litellm_model_name', ...KEY, 'model_id'] as const
const CACHED = ['model', ...KEY, ...TEAM, 'end_user', 'user', 'model_id'] as const
const ATTEMPT = ['requested_model', ...DEPLOYMENT, ...KEY, ...TEAM, 'client_ip', 'user_agent'] as const
const FALLBACK = [
  'requested_model',
  'fallback_model',
  ...KEY,
  ...TEAM,
  'exception_status',
  'exception_class',
  'model_id',
] as const

/** Every metric of the gateway. */
const DEFINITIONS = {
  proxyRequests: counter(
    'litellm_proxy_total_requests_metric_total',
    'Inference requests answered, whatever the outcome.',
    ...CALL,
    'status_code',
    'user_email',
    'route',
    'client_ip',
    'user_agent',
    'model_id',
  ),
  proxyFailures: counter(
    'litellm_proxy_failed_requests_metric_total',
    'Inference requests the client saw fail.',
    ...CALL,
    'user_email',
    'exception_status',
    'exception_class',
    'route',
    'client_ip',
    'user_agent',
    'model_id',
  ),
  requestLatency: histogram('litellm_request_total_latency_metric', 'Seconds from request to end of answer.', ...TOTAL_LATENCY),
  requests: counter('litellm_requests_metric_total', 'Calls made to providers on behalf of clients.', ...SERVED),
  spend: counter('litellm_spend_metric_total', 'Spend in dollars.', ...SERVED),
  totalTokens: counter('litellm_total_tokens_metric_total', 'Input and output tokens.', ...TOKENS),
  inputTokens: counter('litellm_input_tokens_metric_total', 'Input tokens.', ...TOKENS),
  outputTokens: counter('litellm_output_tokens_metric_total', 'Output tokens.', ...TOKENS),
  apiLatency: histogram('litellm_llm_api_latency_metric', 'Seconds the provider took.', ...LATENCY),
  timeToFirstToken: histogram(
    'litellm_llm_api_time_to_first_token_metric',
    'Seconds to the first token of a stream.',
    ...LATENCY,
  ),
  overhead: histogram('litellm_overhead_latency_metric', 'Seconds the gateway itself added.', ...OVERHEAD),
  deploymentState: gauge('litellm_deployment_state', '0 healthy, 1 failing in part, 2 out.', ...DEPLOYMENT),
  deploymentCooldowns: counter(
    'litellm_deployment_cooled_down_total',
    'Times a deployment was taken out of rotation.',
    ...DEPLOYMENT,
    'exception_status',
  ),
  deploymentRequests: counter('litellm_deployment_total_requests_total', 'Attempts on a deployment.', ...ATTEMPT),
  deploymentSuccesses: counter('litellm_deployment_success_responses_total', 'Attempts that succeeded.', ...ATTEMPT),
  deploymentFailures: counter(
    'litellm_deployment_failure_responses_total',
    'Attempts that failed.',
    'requested_model',
    ...DEPLOYMENT,
    'exception_status',
    'exception_class',
    ...KEY,
    ...TEAM,
    'client_ip',
    'user_agent',
  ),
  deploymentTokenLatency: histogram(
    'litellm_deployment_latency_per_output_token',
    'Seconds per output token.',
    ...DEPLOYMENT,
    ...KEY,
    ...TEAM,
  ),
  deploymentFallbacks: counter('litellm_deployment_successful_fallbacks_total', 'Fallbacks that succeeded.', ...FALLBACK),
  deploymentFailedFallbacks: counter('litellm_deployment_failed_fallbacks_total', 'Fallbacks that failed too.', ...FALLBACK),
  failovers: counter(
    'turnpike_midstream_failovers_total',
    'Streams that died after text was sent, by how they ended: complete or broken.',
    'requested_model',
    'outcome',
  ),
  promptCacheCalls: gauge('turnpike_prompt_cache_calls', 'Calls long enough to be cached, under prompt_caching.'),
  promptCacheHits: gauge('turnpike_prompt_cache_hits', 'Those that went where their beginning had been before.'),
  promptCacheTokens: gauge('turnpike_prompt_cache_tokens', 'Input tokens of these that the provider read from its cache.'),
  promptCacheSaved: gauge('turnpike_prompt_cache_saved_dollars', 'Dollars these tokens would have cost more.'),
  mirroredCalls: gauge('turnpike_mirrored_calls', 'Copies of calls for groups that are tried out, running now.'),
  mirrorDropped: counter('turnpike_mirrored_calls_dropped_total', 'Copies not made because too many were running.'),
  deploymentTpmLimit: gauge('litellm_deployment_tpm_limit', 'Configured tokens per minute.', ...DEPLOYMENT),
  deploymentRpmLimit: gauge('litellm_deployment_rpm_limit', 'Configured requests per minute.', ...DEPLOYMENT),
  remainingRequests: gauge('litellm_remaining_requests_metric', 'Requests left, as the provider says.', ...OVERHEAD),
  remainingTokens: gauge('litellm_remaining_tokens_metric', 'Tokens left, as the provider says.', ...OVERHEAD),
  cacheHits: counter('litellm_cache_hits_metric_total', 'Calls answered from the cache.', ...CACHED),
  cacheMisses: counter('litellm_cache_misses_metric_total', 'Calls the cache had no answer for.', ...CACHED),
  cachedTokens: counter('litellm_cached_tokens_metric_total', 'Tokens of answers from the cache.', ...CACHED),
  cacheTrouble: counter('turnpike_cache_failures_total', 'Times the cache was away, slow or unreadable.', 'operation'),
  unknownKeys: counter(
    'turnpike_unknown_keys_total',
    'Unknown keys: looked_up, or refused unseen because their address had sent too many.',
    'outcome',
  ),
  inFlight: gauge('litellm_in_flight_requests', 'Requests being answered now.'),
} as const

/** Upper bounds in seconds, LiteLLM's. */
const BUCKETS = [
  0.005, 0.00625, 0.0125, 0.025, 0.05, 0.1, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5, 9, 9.5, 10, 15,
  20, 25, 30, 60, 120, 180, 240, 300,
]
/** Label sets of one metric. Beyond it everything is counted under `other`: labels must not eat the memory. */
export const LABEL_SETS_MAX = 2_000
/**
 * Lines made between two turns of the event loop. All metrics full of labels are 410,000 lines, 157 MB: made at once they stopped the process
 * for 3.3 s, from half of which on a router refuses calls. A piece takes some 5 ms; smaller ones take a busy process longer than the 10 s a scrape
 * may last.
 */
const PIECE_LINES = 2_000
const OTHER = 'other'
const SEPARATOR = '\u0000'

/** The same text in memory of its own: a label cut from a decoded message would keep all of that message (1.2 KB a call) for as long as the metric. */
function copied(text: string): string {
  return Buffer.from(text).toString()
}

export interface Counter {
  add(amount?: number): void
}
export interface Gauge {
  set(value: number): void
}
export interface Histogram {
  /** Seconds. */
  observe(seconds: number): void
}

interface Handles {
  counter: Counter
  gauge: Gauge
  histogram: Histogram
}
type Kind = keyof Handles

interface Definition<K extends Kind = Kind, L extends string = string> {
  kind: K
  name: string
  help: string
  labels: readonly L[]
}

/** One metric: a handle per label set. Keep the handle where it is used often. */
export interface Family<K extends Kind, L extends string> {
  with(labels: Readonly<Partial<Record<L, string>>>): Handles[K]
}

type FamilyOf<D> = D extends Definition<infer K, infer L> ? Family<K, L> : never

export type Metrics = { readonly [Name in keyof typeof DEFINITIONS]: FamilyOf<(typeof DEFINITIONS)[Name]> } & {
  /** All metrics in Prometheus' text format 0.0.4, in pieces between which other work gets its turn. */
  pieces(): AsyncGenerator<string>
  readonly contentType: string
  /** Called before each text, to set gauges that are read rather than counted. */
  onScrape(read: () => void): void
}

/** A set of metrics at zero. One per process. */
export function createMetrics(): Metrics {
  const readers: (() => void)[] = []
  const families: Record<string, Store> = {}
  const texts = new Map<string, string>()
  for (const [key, definition] of Object.entries(DEFINITIONS)) families[key] = new Store(definition, texts)
  const stores = Object.values(families)
  return Object.assign(families as unknown as Metrics, {
    contentType: Registry.PROMETHEUS_CONTENT_TYPE,
    onScrape: (read: () => void) => void readers.push(read),
    async *pieces() {
      for (const read of readers) read()
      for (const store of stores) yield* rendered(store)
    },
  })
}

/** The text of one metric in pieces, only the first of which has its help and type. */
async function* rendered(store: Store): AsyncGenerator<string> {
  const { name, help, type } = store
  const registry = new Registry()
  let header = 0
  for (const values of store.slices()) {
    // The registry asks what it renders for nothing else.
    const slice = { name, get: async () => ({ name, help, type, values }) }
    registry.clear()
    registry.registerMetric(slice as unknown as Parameters<Registry['registerMetric']>[0])
    const text = await registry.getSingleMetricAsString(name)
    yield `${text.slice(header)}\n`
    header ||= text.indexOf('\n', text.indexOf('\n') + 1) + 1
    await new Promise((resolve) => setImmediate(resolve))
  }
}

type Labels = Readonly<Record<string, string>>

/** One line of text; the registry writes the labels that lines share once for all of them. */
interface Line {
  metricName?: string
  labels: Labels
  sharedLabels?: Labels
  value: number
}

/** The numbers of one metric. A label set owns `stride` of them: one, or a count per bucket, one above the last, and the sum. */
class Store {
  readonly name: string
  readonly help: string
  readonly type: Kind
  readonly #labels: readonly string[]
  readonly #stride: number
  readonly #handles = new Map<string, Counter & Gauge & Histogram>()
  readonly #sets: Labels[] = []
  readonly #texts: Map<string, string>
  #values: Float64Array

  /** `texts`: of labels, each once for all metrics: a key stands in a dozen of them, with its hash, alias and team. */
  constructor(definition: Definition, texts: Map<string, string>) {
    this.#texts = texts
    this.name = definition.name
    this.help = definition.help
    this.type = definition.kind
    this.#labels = definition.labels
    this.#stride = definition.kind === 'histogram' ? BUCKETS.length + 2 : 1
    this.#values = new Float64Array(this.#stride * 4)
  }

  with(labels: Labels): Counter & Gauge & Histogram {
    let key = ''
    for (const label of this.#labels) key += (labels[label] ?? '') + SEPARATOR
    return this.#handles.get(key) ?? this.#make(key, labels)
  }

  /** Adds to one number. */
  addAt(at: number, amount: number): void {
    ;(this.#values[at] as number) += amount
  }

  setAt(at: number, value: number): void {
    this.#values[at] = value
  }

  /** Counts one observation of a histogram whose numbers begin at `at`, seconds. */
  observeAt(at: number, seconds: number): void {
    ;(this.#values[at + bucketOf(seconds)] as number) += 1
    ;(this.#values[at + this.#stride - 1] as number) += seconds
  }

  #make(key: string, labels: Labels): Counter & Gauge & Histogram {
    if (this.#handles.size >= LABEL_SETS_MAX && labels[this.#labels[0] as string] !== OTHER) {
      return this.with(Object.fromEntries(this.#labels.map((label) => [label, OTHER])))
    }
    const at = this.#sets.length * this.#stride
    this.#sets.push(Object.fromEntries(this.#labels.map((label) => [label, this.#text(labels[label] ?? '')])))
    if (at + this.#stride > this.#values.length) {
      const grown = new Float64Array(this.#values.length * 2)
      grown.set(this.#values)
      this.#values = grown
    }
    const handle = new Place(this, at)
    this.#handles.set(copied(key), handle)
    return handle
  }

  #text(text: string): string {
    const known = this.#texts.get(text)
    if (known !== undefined) return known
    const own = copied(text)
    this.#texts.set(own, own)
    return own
  }

  /** What the registry renders, a piece's lines at a time; one slice at least. */
  *slices(): Generator<Line[]> {
    const sets = Math.floor(PIECE_LINES / (this.type === 'histogram' ? BUCKETS.length + 3 : 1))
    let from = 0
    do {
      yield this.#sets.slice(from, from + sets).flatMap((labels, index) => this.#lines(labels, (from + index) * this.#stride))
      from += sets
    } while (from < this.#sets.length)
  }

  #lines(sharedLabels: Labels, at: number): Line[] {
    const values = this.#values.subarray(at, at + this.#stride)
    if (this.type !== 'histogram') return [{ labels: sharedLabels, value: values[0] as number }]
    let count = 0
    const lines: Line[] = [...BUCKETS, '+Inf'].map((bound, bucket) => {
      count += values[bucket] as number
      return { metricName: `${this.name}_bucket`, labels: { le: String(bound) }, sharedLabels, value: count }
    })
    lines.push({ metricName: `${this.name}_sum`, labels: {}, sharedLabels, value: values[this.#stride - 1] as number })
    lines.push({ metricName: `${this.name}_count`, labels: {}, sharedLabels, value: count })
    return lines
  }
}

/** Where the numbers of one label set begin. No closure: it would keep the labels it was made from, and the message they were cut from. */
class Place implements Counter, Gauge, Histogram {
  readonly #store: Pick<Store, 'addAt' | 'setAt' | 'observeAt'>
  readonly #at: number

  constructor(store: Pick<Store, 'addAt' | 'setAt' | 'observeAt'>, at: number) {
    this.#store = store
    this.#at = at
  }

  add(amount = 1): void {
    this.#store.addAt(this.#at, amount)
  }

  set(value: number): void {
    this.#store.setAt(this.#at, value)
  }

  observe(seconds: number): void {
    this.#store.observeAt(this.#at, seconds)
  }
}

/** Index of the first bound that is not below `seconds`. */
function bucketOf(seconds: number): number {
  let low = 0
  let high = BUCKETS.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (seconds <= (BUCKETS[middle] as number)) high = middle
    else low = middle + 1
  }
  return low
}

function counter<L extends string>(name: string, help: string, ...labels: L[]): Definition<'counter', L> {
  return { kind: 'counter', name, help, labels }
}

function gauge<L extends string>(name: string, help: string, ...labels: L[]): Definition<'gauge', L> {
  return { kind: 'gauge', name, help, labels }
}

function histogram<L extends string>(name: string, help: string, ...labels: L[]): Definition<'histogram', L> {
  return { kind: 'histogram', name, help, labels }
}
