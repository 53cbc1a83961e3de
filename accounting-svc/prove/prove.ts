import type { Deployment, Prices } from '../../proto/deployment.ts'
import type { Identity, IdentityReply, IdentityRequest } from '../../proto/identity.ts'
import { scopes } from '../../proto/limits.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { createCodec } from '../../shared/bus/codec.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import { deploymentOf } from '../../shared/config/runtime.ts'
import { hashKey, type Sealer } from '../../shared/config/secrets.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import type { Log } from '../../shared/log.ts'
import { formatDollars } from '../../shared/money.ts'
import type { Keys } from '../identity/keys.ts'
import type { Teams } from '../identity/teams.ts'
import type { Writer } from '../identity/writer.ts'
import type { Runtime } from '../models/runtime.ts'
import { claimLeadership, leaveLeadership } from '../sql/leader.ts'
import { findProvenEntries } from '../sql/prove.ts'
import { keptOf, type RunOwners, settle, spentOf } from './books.ts'
import { compare, type Verdict } from './compare.ts'
import { type MadeCall, runLoad } from './load.ts'
import { type CallPlan, costByHand, type LoadShape, planCalls } from './plan.ts'
import { type FakeProvider, startFakeProvider } from './provider.ts'

export interface ProveOptions extends LoadShape {
  concurrency: number
  /** Nano-dollars, or the share of what the whole load costs. */
  budget: { nano: number } | { share: number }
  /** Milliseconds after which no further call is made. */
  limit: number
}

export interface ProveReport {
  id: string
  verdict: Verdict
  /** What kept the run from proving anything; empty when well. */
  problems: string[]
  budget: number
  calls: readonly MadeCall[]
  provider: { requests: number; failed: number; strangers: number }
  entries: number
  /** Milliseconds the calls took, and then until all was booked. */
  loadTime: number
  settleTime: number
}

/** The self-test: a load through the running gateway against a provider that keeps books of its own, and the comparison of both. */
export interface Prover {
  /** One at a time in the whole cluster: throws GatewayError `already_exists` while another runs. Rejects when it cannot be set up. */
  run(options: ProveOptions, by: Writer, signal: AbortSignal): Promise<ProveReport>
}

export interface ProverDeps {
  db: Database
  bus: Bus
  counters: Pick<Counters, 'peek'>
  runtime: Pick<Runtime, 'serveBeside' | 'deployment'>
  keys: Pick<Keys, 'generate' | 'remove'>
  teams: Pick<Teams, 'create' | 'remove'>
  config: () => Config
  sealer: Sealer
  catalog: Catalog
  clock: Clock
  log: Log
}

/** Begins the names of everything a run makes, and is the tag of its entries, which stay. */
const NAME = 'turnpike-prove'
const LEADERSHIP = 'prove'
/** Milliseconds the claim to be the only run lives, and how often it is renewed. */
const CLAIM_TTL = 60_000
const CLAIM_RENEW = 15_000
const IDENTITY_LIMIT = 5_000
/**
 * Dollars per token with more digits than a nano-dollar has, so that rounding shows; and small: a call costs a quarter of a millionth of a
 * dollar, so that budgets of the whole gateway do not notice.
 */
const PRICES = {
  input_cost_per_token: '0.000000001234567',
  cache_read_input_token_cost: '0.000000000123457',
  output_cost_per_token: '0.000000009876543',
  input_cost_per_request: '0.000000005',
}
/** The team's budget in budgets of the key: it counts, and never refuses. */
const TEAM_BUDGETS = 100

export function createProver(deps: ProverDeps): Prover {
  return {
    async run(options, by, signal) {
      const { db, clock, log } = deps
      const id = rowId().slice(0, 8)
      const claim = (): Promise<boolean> => claimLeadership(db, LEADERSHIP, id, CLAIM_TTL)
      if (!(await claim())) throw new GatewayError('already_exists', 'A self-test is running already. Only one runs at a time.')
      const renewing = clock.every(CLAIM_RENEW, () => {
        claim().catch((err: unknown) => log.warn({ err }, 'the self-test could not renew its claim'))
      })
      try {
        return await prove(deps, id, options, by, signal)
      } finally {
        renewing.cancel()
        await leaveLeadership(db, LEADERSHIP, id)
      }
    },
  }
}

/** What a run has made and takes down again. */
interface Stage {
  provider: FakeProvider
  model: string
  prices: Prices
  plans: CallPlan[]
  budget: number
  identity: Identity
  teamId: string
}

async function prove(deps: ProverDeps, id: string, options: ProveOptions, by: Writer, signal: AbortSignal): Promise<ProveReport> {
  const { log } = deps
  const undo: (() => Promise<unknown>)[] = []
  try {
    const stage = await setUp(deps, id, options, by, undo)
    return await measure(deps, id, stage, options, signal)
  } finally {
    for (const step of undo.reverse()) {
      await step().catch((err: unknown) => log.error({ err, run: id }, 'the self-test could not be cleaned up completely'))
    }
  }
}

/** Provider, deployment, team and key. What takes each down again is added to `undo`. */
async function setUp(
  deps: ProverDeps,
  id: string,
  options: ProveOptions,
  by: Writer,
  undo: (() => Promise<unknown>)[],
): Promise<Stage> {
  const { runtime, keys, teams, bus, clock, config } = deps
  const name = `${NAME}-${id}`
  const provider = await startFakeProvider({ host: config().turnpike_settings.prove_host ?? '127.0.0.1', clock })
  undo.push(() => provider.stop())
  const deployment = deploymentFor(deps, name, provider.url)
  undo.push(() => runtime.serveBeside([]))
  await runtime.serveBeside([deployment])
  const prices = runtime.deployment(deployment.id)?.prices
  if (prices == null) throw new GatewayError('internal', 'The deployment of the self-test has no prices.')

  const plans = planCalls(options)
  const whole = plans.reduce((sum, { stated }) => sum + costByHand(stated, prices), 0)
  const budget = 'nano' in options.budget ? options.budget.nano : Math.floor(whole * options.budget.share)
  const team = await teams.create(
    { team_alias: name, models: [name], max_budget: formatDollars(Math.max(1, budget) * TEAM_BUDGETS) },
    by,
  )
  const teamId = String(team['team_id'])
  undo.push(() => teams.remove([teamId], by))
  const key = await keys.generate(
    {
      key_alias: name,
      team_id: teamId,
      models: [name],
      max_budget: formatDollars(budget),
      max_parallel_requests: options.concurrency * 4,
      tags: [NAME],
      duration: '1h',
    },
    by,
  )
  const keyHash = hashKey(String(key['key']))
  const identity = await identityOf(bus, keyHash)
  return { provider, model: name, prices, plans, budget, identity, teamId }
}

function deploymentFor({ sealer, catalog }: ProverDeps, name: string, url: string): Deployment {
  const entry = {
    model_name: name,
    litellm_params: { model: `openai_like/${NAME}`, api_base: url, api_key: NAME, ...PRICES },
    model_info: { id: name, mode: 'chat' },
  }
  return { ...deploymentOf(entry, {}, sealer, { catalog }), hidden: true }
}

/** Asked for as an edge does. */
async function identityOf(bus: Bus, keyHash: string): Promise<Identity> {
  const request: IdentityRequest = { v: WIRE_VERSION, keyHash }
  const reply = (await bus.request(bus.subjects.identity, request, { timeout: IDENTITY_LIMIT })) as IdentityReply
  if ('unknown' in reply) throw new GatewayError('internal', 'The key of the self-test is not known.')
  return reply.identity
}

async function measure(
  deps: ProverDeps,
  id: string,
  stage: Stage,
  options: ProveOptions,
  signal: AbortSignal,
): Promise<ProveReport> {
  const { db, clock, log } = deps
  const { provider, model, plans, identity, budget, prices } = stage
  const run: RunOwners = { keyHash: identity.keyHash, teamId: stage.teamId, tag: NAME }
  const tagBefore = await spentOf(db, scopes.tag(NAME))
  const from = clock.now() - CLOCK_SKEW
  const begun = clock.monotonic()
  const calls = await runLoad(
    { ...deps, codec: createCodec() },
    {
      identity,
      model,
      plans,
      concurrency: options.concurrency,
      limit: options.limit,
      expect: (marker, plan) => provider.expect(marker, plan),
      signal,
    },
  )
  const ended = clock.monotonic()
  const settled = await settle(deps, run, calls, from)
  const settledAt = clock.monotonic()
  const entries = await findProvenEntries(db, identity.keyHash, from)
  const verdict = compare({
    budget,
    prices,
    served: provider.served,
    answered: new Set(calls.flatMap(({ callId, end }) => (end === 'answered' ? [callId] : []))),
    entries,
    kept: await keptOf(deps, run, tagBefore),
  })
  const requests = [...provider.served.values()]
  const failed = requests.reduce((sum, served) => sum + served.failed, 0)
  const charges = requests.reduce((sum, served) => sum + served.charges.length, 0)
  log.info({ run: id, calls: calls.length, charges, entries: entries.length }, 'a self-test has run')
  return {
    id,
    verdict,
    problems: problemsOf(options, calls, charges, settled, signal),
    budget,
    calls,
    provider: { requests: failed + charges, failed, strangers: provider.strangers },
    entries: entries.length,
    loadTime: Math.round(ended - begun),
    settleTime: Math.round(settledAt - ended),
  }
}

/** Milliseconds by which the clocks of routers may be behind. */
const CLOCK_SKEW = 60_000

function problemsOf(
  options: ProveOptions,
  calls: readonly MadeCall[],
  charges: number,
  settled: boolean,
  signal: AbortSignal,
): string[] {
  const problems: string[] = []
  if (charges === 0) {
    const reasons = [...new Set(calls.flatMap(({ reason }) => reason ?? []))].join(', ')
    problems.push(
      `No call reached the provider of the self-test (${reasons || 'none was made'}). Routers on other machines reach it at turnpike_settings.prove_host.`,
    )
  }
  if (signal.aborted) problems.push('Whoever asked left before the end.')
  else if (calls.length < options.calls)
    problems.push(`Only ${calls.length} of ${options.calls} calls were made in the time allowed.`)
  if (!settled) problems.push('Not everything was booked and settled in time.')
  return problems
}
