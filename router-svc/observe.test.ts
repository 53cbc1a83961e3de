import { text as textOf } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { type Attempt, NO_TOKENS, type UsageEvent } from '../proto/usage.ts'
import { createMetrics } from '../shared/metrics.ts'
import type { Call } from './call.ts'
import { createObserver } from './observe.ts'
import type { Route } from './runtime.ts'

const identity = { keyHash: 'hash', keyAlias: 'app', teamId: null, teamAlias: null, userId: 'u', userEmail: null }
const call = {
  identity,
  requestedModel: 'gpt',
  modelGroup: 'gpt',
  options: { endUser: null },
  upstreamTime: 900,
  stream: true,
} as unknown as Call
const attempt = (fields: Partial<Attempt> = {}): Attempt => ({
  index: 0,
  deploymentId: 'd1',
  provider: 'openai',
  model: 'gpt-4o',
  apiBase: 'http://up/v1',
  startedAt: 1_000,
  firstTokenAt: 1_200,
  endedAt: 2_000,
  outcome: 'success',
  usage: { ...NO_TOKENS, input: 30, output: 10 },
  ...fields,
})
const event = (record: Attempt): UsageEvent => ({ attempts: [record], startedAt: 990, endedAt: 2_010 }) as unknown as UsageEvent
const line = (text: string, name: string) => text.split('\n').find((found) => found.startsWith(`${name}{`))

describe('createObserver', () => {
  it('counts calls, tokens, spend in dollars and latencies under LiteLLM names and labels', async () => {
    const metrics = createMetrics()
    const observer = createObserver(metrics)
    for (let round = 0; round < 2; round += 1) {
      observer.attempt(call, attempt())
      observer.call(call, event(attempt()), 3_000_000)
    }
    const text = await textOf(metrics.pieces())
    expect(line(text, 'litellm_requests_metric_total')).toMatch(/hashed_api_key="hash".*model="gpt-4o".* 2$/)
    expect(line(text, 'litellm_spend_metric_total')).toMatch(/ 0\.006$/)
    expect(line(text, 'litellm_input_tokens_metric_total')).toMatch(/ 60$/)
    expect(line(text, 'litellm_output_tokens_metric_total')).toMatch(/ 20$/)
    expect(line(text, 'litellm_llm_api_time_to_first_token_metric_sum')).toMatch(/ 0\.4$/)
    expect(line(text, 'litellm_overhead_latency_metric_sum')).toMatch(/ 0\.24$/)
    expect(line(text, 'litellm_deployment_success_responses_total')).toMatch(/ 2$/)
  })

  it('shows how many copies of calls run and counts those that were not made', async () => {
    const metrics = createMetrics()
    const observer = createObserver(metrics)
    for (const copies of [
      { running: 100, dropped: 3 },
      { running: 2, dropped: 3 },
      { running: 0, dropped: 4 },
    ])
      observer.mirroring(copies)
    const text = await textOf(metrics.pieces())
    expect(text).toMatch(/^turnpike_mirrored_calls 0$/m)
    expect(text).toMatch(/^turnpike_mirrored_calls_dropped_total 4$/m)
  })

  it('counts a failed attempt with the class and status of its error', async () => {
    const metrics = createMetrics()
    createObserver(metrics).attempt(
      call,
      attempt({ outcome: 'failure', error: { code: 'provider_rate_limited', message: 'slow' } }),
    )
    expect(line(await textOf(metrics.pieces()), 'litellm_deployment_failure_responses_total')).toMatch(
      /exception_status="429",exception_class="RateLimitError".* 1$/,
    )
  })

  it('counts cooldowns and shows how a deployment does', async () => {
    const metrics = createMetrics()
    const observer = createObserver(metrics)
    const route = { deployment: { id: 'd1' }, model: 'gpt-4o', apiBase: null, provider: { name: 'openai' } } as unknown as Route
    observer.cooledDown(route, 'provider_timeout')
    observer.deploymentState(route, 2)
    const text = await textOf(metrics.pieces())
    expect(line(text, 'litellm_deployment_cooled_down_total')).toMatch(/model_id="d1".*exception_status="408".* 1$/)
    expect(line(text, 'litellm_deployment_state')).toMatch(/api_provider="openai".* 2$/)
    observer.deploymentState(route, 0)
    expect(line(await textOf(metrics.pieces()), 'litellm_deployment_state')).toMatch(/ 0$/)
  })
})
