import type { Deployment } from '../proto/deployment.ts'
import type { DialectName } from '../proto/endpoints.ts'
import { DEFAULT_ROUTING, type FailurePolicy, type RoutingSettings } from '../proto/routing.ts'
import type { Clock } from '../shared/clock.ts'
import { type Client, deployment, make, settled } from './handle.testkit.ts'
import type { HandleDeps } from './handle.ts'
import type { Selector } from './routing/select.ts'
import { advance, begin, type Play, type Played } from './simulated-provider.testkit.ts'

/** Everything that happens to a gateway, as a test makes it up. */
export interface Plan {
  deployments: { group: Group; speaks: 'openai' | 'anthropic'; prefill: boolean; order: number | null; weight: number }[]
  fallbacks: Partial<Record<Group | '*', Group[]>>
  maxFallbacks: number
  numRetries: number
  retryPolicy: FailurePolicy
  failover: { enabled: boolean; max: number }
  hedgeAfter: number | null
  cooldownTime: number
  allowedFails: number | null
  calls: PlannedCall[]
  /** In the order of provider calls; those beyond them begin anew. */
  plays: Play[]
  /** What is drawn where one of several is picked, in turn. */
  draws: number[]
  /** Milliseconds until what is given to the spool is on disk. */
  spool: number
}

export type Group = 'gpt' | 'b' | 'c'

export interface PlannedCall {
  /** Milliseconds. */
  at: number
  endpoint: 'acompletion' | 'anthropic_messages'
  stream: boolean
  includeUsage: boolean
  deadline: number
  /** Its own limit, milliseconds. */
  timeout: number | null
  leavesAt: number | null
  slow: { from: number; to: number } | null
}

export interface Choice {
  callId: string
  deploymentId: string
  /** It was out of rotation, and was called. */
  cooling: boolean
}

export interface Run {
  planned: PlannedCall
  id: string
  dialect: DialectName
  client: Client
  /** How often `finished` was called. */
  finished: number
  /** Milliseconds from its beginning to its end. */
  took: number
  left: string | null
  /** Provider calls made when the client left, and whether its end was booked by then. */
  sentBefore: number
  booked: boolean
}

export interface Simulated {
  plan: Plan
  gateway: ReturnType<typeof make>
  deployments: Deployment[]
  runs: Run[]
  played: Played[]
  choices: Choice[]
  begun: number
  ended: number
}

/** The deadline wheel's tick: nothing is decided in between. */
const STEP = 25
const GRACE = 200
const MODELS = { openai: 'gpt-4o', prefilled: 'claude-sonnet-4-5', told: 'claude-opus-4-6' }

export function callIdIn(played: Played): string {
  return /call-\d+/.exec(JSON.stringify(played.body['messages']))?.[0] ?? ''
}

/** Plays a plan on a gateway until every call is over. */
export async function simulate(plan: Plan): Promise<Simulated> {
  const deployments = plan.deployments.map(({ group, speaks, prefill, order, weight }, index) =>
    deployment(`d${index}`, {
      modelGroup: group,
      provider: speaks,
      model: speaks === 'openai' ? MODELS.openai : prefill ? MODELS.prefilled : MODELS.told,
      weight,
      ...(order === null ? {} : { order }),
    }),
  )
  let draw = 0
  const random = () => plan.draws[draw++ % plan.draws.length] ?? 0
  const gateway = make(
    deployments,
    {
      numRetries: plan.numRetries,
      timeout: 8_000,
      streamTimeout: 3_000,
      stallTimeout: 2_000,
      routing: routingOf(plan),
    },
    (clock, own) => ({
      spool: slowed(own.spool, clock, plan.spool),
      selector: watched(own.selector, clock, () => world),
    }),
    random,
  )
  const world: Simulated = { plan, gateway, deployments, runs: [], played: [], choices: [], begun: 0, ended: 0 }
  const { clock } = gateway
  const last = Math.max(...plan.calls.map(({ at, deadline }) => at + deadline)) + GRACE
  for (;;) {
    begins(world)
    await settled()
    adopt(world)
    for (const one of world.played) advance(one, clock.monotonic())
    await settled()
    adopt(world)
    for (const run of world.runs) clientActs(world, run)
    await settled()
    if (world.runs.length === plan.calls.length && world.runs.every(isOver)) break
    if (clock.monotonic() > last) break
    clock.advance(STEP)
  }
  // The spool's own timers are no business of the router's.
  clock.advance(plan.spool)
  await settled()
  return world
}

/** The answer may follow the end of the work, when its event is on disk. */
function isOver({ finished, client, left }: Run): boolean {
  return finished > 0 && (client.ends > 0 || left !== null)
}

function routingOf(plan: Plan): RoutingSettings {
  const general = Object.fromEntries(
    Object.entries(plan.fallbacks).map(([group, models]) => [group, models.map((model) => ({ model }))]),
  )
  return {
    ...DEFAULT_ROUTING,
    fallbacks: { general, contextWindow: null, contentPolicy: null },
    maxFallbacks: plan.maxFallbacks,
    retryPolicy: plan.retryPolicy,
    failover: plan.failover,
    hedgeAfter: plan.hedgeAfter,
    cooldownTime: plan.cooldownTime,
    allowedFails: plan.allowedFails,
  }
}

function slowed(spool: HandleDeps['spool'], clock: Clock, delay: number): HandleDeps['spool'] {
  if (delay === 0) return spool
  const later = (written: (() => void) | undefined): void => void clock.after(delay, () => written?.())
  return {
    append: (event, written) => spool.append(event, () => later(written)),
    intend: (event, written) => spool.intend(event, () => later(written)),
  }
}

function watched(selector: Selector, clock: Clock, world: () => Simulated): Selector {
  return {
    ...selector,
    choose(tier, call) {
      const route = selector.choose(tier, call)
      const cooling = route.state.cooldownUntil > clock.monotonic()
      world().choices.push({ callId: call.message.callId, deploymentId: route.deployment.id, cooling })
      return route
    },
    begin(route) {
      world().begun += 1
      selector.begin(route)
    },
    end(route, call, end) {
      world().ended += 1
      selector.end(route, call, end)
    },
  }
}

function begins(world: Simulated): void {
  const { plan, gateway, runs } = world
  while (runs.length < plan.calls.length && (plan.calls[runs.length] as PlannedCall).at <= gateway.clock.monotonic()) {
    const planned = plan.calls[runs.length] as PlannedCall
    const id = `call-${runs.length}`
    const anthropic = planned.endpoint === 'anthropic_messages'
    const body = {
      model: 'gpt',
      max_tokens: 1_000,
      messages: [{ role: 'user', content: `hello from ${id}` }],
      ...(planned.stream ? { stream: true } : {}),
      ...(planned.includeUsage && !anthropic ? { stream_options: { include_usage: true } } : {}),
      ...(planned.timeout === null ? {} : { timeout: planned.timeout / 1_000 }),
      ...toolsOf(anthropic),
    }
    const client = gateway.call(body, { callId: id, endpoint: planned.endpoint })
    const run: Run = {
      planned,
      id,
      dialect: anthropic ? 'anthropic' : 'openai-chat',
      client,
      finished: 0,
      took: 0,
      left: null,
      sentBefore: Number.POSITIVE_INFINITY,
      booked: false,
    }
    runs.push(run)
    const from = gateway.clock.monotonic()
    void client.done.then(() => {
      run.finished += 1
      run.took = gateway.clock.monotonic() - from
    })
  }
}

function toolsOf(anthropic: boolean): object {
  const schema = { type: 'object', properties: { w: { type: 'array' } } }
  if (anthropic) return { tools: [{ name: 'look', input_schema: schema }] }
  return { tools: [{ type: 'function', function: { name: 'look', parameters: schema } }] }
}

function adopt({ plan, gateway, played }: Simulated): void {
  for (const sent of gateway.sent.slice(played.length)) {
    const index = played.length
    played.push(begin(sent, index, gateway.clock.monotonic(), plan.plays[index % plan.plays.length] as Play))
  }
}

function clientActs({ gateway }: Simulated, run: Run): void {
  const { planned, client, left } = run
  if (left !== null || client.ends > 0) return
  const now = gateway.clock.monotonic() - planned.at
  if (planned.slow !== null) {
    const behind = now >= planned.slow.from && now < planned.slow.to
    if (!behind && !client.keepsUp) {
      client.keepsUp = true
      client.stream.onWritable?.()
    } else client.keepsUp = !behind
  }
  const reason =
    now >= planned.deadline
      ? 'deadline_exceeded'
      : planned.leavesAt !== null && now >= planned.leavesAt
        ? 'client closed the connection'
        : null
  if (reason === null) return
  run.left = reason
  run.sentBefore = gateway.sent.length
  run.booked = gateway.events.some(({ callId }) => callId === run.id)
  Object.assign(client.stream, { closed: true })
  client.stream.onCancel?.(reason)
}
