import { once } from './connection.ts'
import { Missing } from './launch.ts'
import type { Setup } from './scenarios.ts'

/** What differs between the setups of a gateway: its configuration, and who calls. The configuration is LiteLLM's file; it reads the same one. */

/** Dollars per token of the measured models, so that the ledger can be held against what the provider stated. */
export const PRICES = { input: 1e-6, output: 2e-6 }
/** Deployments of the groups `bench-10`, `bench-100`, `bench-1000` (setup `deployments`); `bench` has one. */
const GROUPS = [10, 100, 1_000]
/** Rows of the table of keys (setup `keys`). */
export const KEYS = 1_000_000
/** High enough never to refuse: what is measured is the counting. */
const LIMITS = { max_budget: 1e6, budget_duration: '30d', rpm_limit: 100_000_000, tpm_limit: 1_000_000_000 }

/** What Turnpike reads. */
export function configText(providerUrl: string, setup: Setup): string {
  return modelList(providerUrl, setup) + (setup === 'cache' ? CACHED : setup === 'full' ? traced(providerUrl) : '')
}

const CACHED = 'litellm_settings:\n  cache: true\n'

/** One call in a hundred, toward the provider, which takes traces too. */
function traced(collectorUrl: string): string {
  return `litellm_settings:
  callbacks: [otel]
turnpike_settings:
  trace_sample_rate: 0.01
environment_variables:
  OTEL_EXPORTER: otlp_http
  OTEL_ENDPOINT: ${collectorUrl}
`
}

/** The `model_list` of every gateway that reads LiteLLM's file. */
export function modelList(providerUrl: string, setup: Setup): string {
  const groups = setup === 'deployments' ? GROUPS : []
  const models = [
    deployment('bench', 'openai/bench', `${providerUrl}/v1`),
    deployment('bench-claude', 'anthropic/bench-claude', providerUrl),
    ...groups.flatMap((count) =>
      Array.from({ length: count }, () => deployment(`bench-${count}`, 'openai/bench', `${providerUrl}/v1`)),
    ),
  ]
  return `model_list:\n${models.join('')}`
}

/** One entry of a `model_list`: the scripted provider at `base`, priced by PRICES. */
export function deployment(name: string, model: string, base: string): string {
  return `  - model_name: ${name}
    litellm_params:
      model: ${model}
      api_base: ${base}
      api_key: fake
      input_cost_per_token: ${PRICES.input}
      output_cost_per_token: ${PRICES.output}
`
}

/** The nth key of setup `keys`, as `deploy/tools/bench-keys.ts` makes them. */
export function keyOf(number: number): string {
  return `sk-bench-${String(number).padStart(8, '0')}`
}

export interface Caller {
  key: string
  /** What calls say beside model and messages. */
  extra?: Record<string, unknown>
}

/** Makes whoever calls in this setup. Throws Missing, with the answer, when the gateway refuses. */
export async function makeCaller(origin: string, masterKey: string, setup: Setup): Promise<Caller> {
  const post = async (path: string, body: Record<string, unknown>): Promise<Record<string, unknown>> => {
    const headers = { authorization: `Bearer ${masterKey}` }
    const made = await once({ origin, path, headers, body: JSON.stringify(body) })
    if (made.status !== 200) throw new Missing(`${path} answered ${made.status}: ${made.body.toString().slice(0, 300)}`)
    return JSON.parse(made.body.toString()) as Record<string, unknown>
  }
  if (setup === 'off') return { key: masterKey }
  if (setup === 'full') return everything(post)
  return { key: (await post('/key/generate', { key_alias: 'bench', max_budget: 1e6 }))['key'] as string }
}

/** A key under an organization, a team, a user, a customer and two tags, each with a budget and with limits where it may have them. */
async function everything(
  post: (path: string, body: Record<string, unknown>) => Promise<Record<string, unknown>>,
): Promise<Caller> {
  const models = ['bench', 'bench-claude']
  const organization = (await post('/organization/new', { organization_alias: 'bench', models, ...LIMITS }))['organization_id']
  const team = (await post('/team/new', { team_alias: 'bench', organization_id: organization, models, ...LIMITS }))['team_id']
  await post('/user/new', { user_id: 'bench-user', auto_create_key: false, ...LIMITS })
  await post('/team/member_add', { team_id: team, member: { role: 'user', user_id: 'bench-user' }, max_budget_in_team: 1e6 })
  for (const name of ['bench-one', 'bench-two']) await post('/tag/new', { name, max_budget: 1e6 })
  await post('/customer/new', { user_id: 'bench-customer', max_budget: 1e6 })
  const made = await post('/key/generate', {
    key_alias: 'bench',
    team_id: team,
    user_id: 'bench-user',
    max_parallel_requests: 100_000,
    model_max_budget: { bench: { budget_limit: 1e6, time_period: '30d' } },
    model_rpm_limit: { bench: 100_000_000 },
    model_tpm_limit: { bench: 1_000_000_000 },
    ...LIMITS,
  })
  const extra = { user: 'bench-customer', metadata: { tags: ['bench-one', 'bench-two'] } }
  return { key: made['key'] as string, extra }
}
