import type { Deployment, RuntimeSnapshot } from '../proto/deployment.ts'
import type { ModelAnswer, ModelName, ModelQuestion } from '../proto/model-facts.ts'
import { QUEUE } from '../proto/subjects.ts'
import { WIRE_VERSION } from '../proto/version.ts'
import type { Bus, Service } from '../shared/bus/bus.ts'
import type { Clock } from '../shared/clock.ts'
import { GatewayError, toGatewayError, toWire } from '../shared/errors.ts'
import type { HttpClient } from '../shared/http/client.ts'
import { exchange } from '../shared/http/exchange.ts'
import { proved } from './attempt-converse.ts'
import { PLAIN_TARGET } from './providers/plain-target.ts'
import type { Adapter, Provider, Target } from './providers/provider.ts'
import type { Route } from './runtime.ts'

export interface DescribeDeps {
  bus: Pick<Bus, 'respond' | 'subjects'>
  providers: { get(name: string): Provider | undefined }
  /** What is in force; null = nothing yet. */
  snapshot(): RuntimeSnapshot | null
  compile(deployment: Deployment): Route
  http: HttpClient
  clock: Clock
}

const LIST_LIMITS = { limit: 5_000, maxBytes: 8 * 1024 * 1024 }

/** Answers what accounting asks about models. */
export function describeModels(deps: DescribeDeps): Service {
  return deps.bus.respond(deps.bus.subjects.models, QUEUE.router, async (payload): Promise<ModelAnswer> => {
    try {
      const question = payload as ModelQuestion
      if (question.kind === 'list') return { v: WIRE_VERSION, models: await listed(deps, question.deploymentId) }
      return { v: WIRE_VERSION, parameters: question.models.map((name) => parametersOf(deps.providers, name)) }
    } catch (thrown) {
      return { v: WIRE_VERSION, error: toWire(toGatewayError(thrown)) }
    }
  })
}

/** OpenAI's chat parameters with a value each that no provider can find wrong (surface reference §1.1). */
const PARAMETERS: Readonly<Record<string, unknown>> = {
  frequency_penalty: 0.1,
  logit_bias: { '50256': -1 },
  logprobs: true,
  top_logprobs: 1,
  max_tokens: 16,
  max_completion_tokens: 16,
  n: 2,
  presence_penalty: 0.1,
  response_format: { type: 'json_object' },
  seed: 1,
  service_tier: 'auto',
  stop: ['x'],
  stream: true,
  stream_options: { include_usage: true },
  temperature: 0.5,
  top_p: 0.5,
  tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object', properties: {} } } }],
  tool_choice: 'auto',
  parallel_tool_calls: false,
  functions: [{ name: 'f', parameters: { type: 'object', properties: {} } }],
  function_call: 'auto',
  user: 'u',
  modalities: ['text'],
  audio: { voice: 'alloy', format: 'mp3' },
  prediction: { type: 'content', content: 'x' },
  reasoning_effort: 'low',
  verbosity: 'low',
  web_search_options: {},
  thinking: { type: 'enabled', budget_tokens: 1024 },
  extra_headers: {},
}

/** What only means something beside others. */
const BESIDE: Readonly<Record<string, readonly string[]>> = {
  top_logprobs: ['logprobs'],
  stream_options: ['stream'],
  tool_choice: ['tools'],
  parallel_tool_calls: ['tools'],
  function_call: ['functions'],
  audio: ['modalities'],
}

/** The parameters a model's own encoder takes; null where there is no chat. Pure. */
export function parametersOf(providers: DescribeDeps['providers'], { provider: name, model }: ModelName): string[] | null {
  const known = providers.get(name)
  const served = known?.serve?.(model, { baseModel: null, settings: {}, info: {}, apiBase: null })
  const provider = served?.provider ?? known
  const chat = provider?.chat as Adapter<Record<string, unknown>, unknown, unknown> | undefined
  if (provider === undefined || chat === undefined) return null
  if (provider.local === true) return Object.keys(PARAMETERS)
  const target: Target = {
    ...PLAIN_TARGET,
    provider: name,
    model: served?.model ?? model,
    base: provider.base ?? 'https://provider.invalid/v1',
  }
  return Object.keys(PARAMETERS).filter((parameter) => takes(chat, target, parameter))
}

function takes(chat: Adapter<Record<string, unknown>, unknown, unknown>, target: Target, parameter: string): boolean {
  const asked: Record<string, unknown> = { model: target.model, messages: [{ role: 'user', content: 'x' }] }
  for (const name of [...(BESIDE[parameter] ?? []), parameter]) asked[name] = PARAMETERS[name]
  if (chat.converse !== undefined) return true
  try {
    chat.encodeRequest(asked, target)
    return true
  } catch (thrown) {
    return !(thrown instanceof GatewayError && thrown.code === 'unsupported_parameter' && thrown.param === parameter)
  }
}

/** The provider's own list: OpenAI's form, Anthropic's, Google's (`models/…`), or Cohere's and Ollama's (`name`). */
async function listed(deps: DescribeDeps, deploymentId: string): Promise<string[]> {
  const deployment = deps.snapshot()?.deployments.find(({ id }) => id === deploymentId)
  if (deployment === undefined) throw new GatewayError('not_found', 'There is no such deployment.')
  // A wildcard is no route until it is filled, and any name will do to find address and credential.
  const { team: _, ...open } = deployment
  const route = deps.compile({ ...open, modelGroup: 'list', model: deployment.model.replace('*', 'list') })
  if (route.problem !== null) throw new GatewayError('provider_authentication', route.problem)
  if (route.provider.local === true || route.target.base === '') return []
  const url = `${route.target.base}/models`
  const request = await proved(route, { method: 'GET', url, headers: { accept: 'application/json' }, body: '' }, deps.clock.now())
  const { status, body } = await exchange(deps.http, { method: 'GET', url, headers: request.headers }, LIST_LIMITS)
  if (status >= 400) throw route.provider.decodeError(status, {}, body.toString('utf8').slice(0, 4_096))
  return namesIn(body.toString('utf8'))
}

function namesIn(text: string): string[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new GatewayError('provider_malformed', 'The list of models is no JSON.')
  }
  const { data, models } = (typeof value === 'object' && value !== null ? value : {}) as { data?: unknown; models?: unknown }
  const list = Array.isArray(value) ? value : Array.isArray(data) ? data : Array.isArray(models) ? models : []
  const names = list.flatMap((item: unknown) => {
    const { id, name } = (typeof item === 'object' && item !== null ? item : {}) as { id?: unknown; name?: unknown }
    const found = typeof id === 'string' ? id : name
    return typeof found === 'string' && found !== '' ? [found.replace(/^models\//, '')] : []
  })
  return [...new Set(names)]
}
