import type { Attempt, TokenUsage, UsageEvent } from '../proto/usage.ts'
import { SseParser } from '../shared/http/sse.ts'
import { fold } from './dialects/anthropic/grammar.testkit.ts'
import { settled } from './handle.testkit.ts'
import { callIdIn, type Group, type Plan, type Run, type Simulated } from './simulated-calls.testkit.ts'
import { beginningOf, type Played, speakers, usageOf } from './simulated-provider.testkit.ts'

/** Milliseconds that what follows at once may take: two steps of the simulation. */
const SOON = 50

/** What must hold of every simulated plan. Each throws where it does not. */
export async function checkAll(world: Simulated): Promise<void> {
  for (const run of world.runs) {
    try {
      checkCall(world, run)
    } catch (thrown) {
      throw new Error(`${run.id}: ${(thrown as Error).message}\n${describeRun(world, run)}`, { cause: thrown })
    }
  }
  await checkLeftovers(world)
}

function demand(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what)
}

function checkCall(world: Simulated, run: Run): void {
  const { client, planned } = run
  demand(run.finished === 1, `finished ${run.finished} times`)
  demand(run.took <= planned.deadline + 100 + world.plan.spool, `took ${run.took} ms`)
  demand(client.late === 0, 'something was sent after the end')
  demand(client.ends === (run.left === null ? 1 : 0), `ended ${client.ends} times`)
  const events = world.gateway.events.filter(({ callId }) => callId === run.id)
  demand(events.length === 1, `${events.length} usage events`)
  const event = events[0] as UsageEvent
  const calls = world.played.filter((played) => callIdIn(played) === run.id)
  checkAttempts(event, calls)
  checkRoute(world, run, calls)
  checkAnswer(world.plan, run, event, calls)
  if (run.left === null || run.booked) return
  demand(event.outcome === 'cancelled', `a call that was left ended as ${event.outcome}`)
  const code = run.left === 'deadline_exceeded' ? 'deadline_exceeded' : 'cancelled'
  demand(event.error?.code === code, `a call that ended by ${run.left} is told as ${event.error?.code}`)
  demand(
    calls.every(({ index }) => index < run.sentBefore),
    'a provider was called for a client that had left',
  )
}

/** Exactly the provider calls that were made, as they began. */
function checkAttempts({ attempts }: UsageEvent, calls: readonly Played[]): void {
  demand(attempts.length === calls.length, `${attempts.length} attempts for ${calls.length} provider calls`)
  attempts.forEach((attempt, n) => {
    const { sent } = calls[n] as Played
    demand(attempt.index === n, `attempt ${n} has the index ${attempt.index}`)
    demand(attempt.deploymentId === hostOf(sent.request.url), `attempt ${n} is told of ${attempt.deploymentId}`)
    demand(attempt.endedAt >= attempt.startedAt, `attempt ${n} ended before it began`)
    demand(n === 0 || attempt.startedAt >= (attempts[n - 1] as Attempt).startedAt, `attempt ${n} began before the last one`)
    demand(attempt.outcome !== 'success' || attempt.usage !== undefined, `attempt ${n} succeeded without usage`)
  })
}

/** Groups, tiers, retries and cooldowns. */
function checkRoute({ plan, choices }: Simulated, run: Run, calls: readonly Played[]): void {
  const chosen = choices.filter(({ callId }) => callId === run.id)
  demand(
    chosen.every(({ cooling }) => !cooling),
    'a deployment that was cooling down was chosen',
  )
  const visits: { group: Group; order: number; count: number }[] = []
  for (const { sent } of calls) {
    const made = plan.deployments[Number(hostOf(sent.request.url).slice(1))] as Plan['deployments'][number]
    const order = orderOf(made.order)
    const last = visits.at(-1)
    if (last?.group === made.group && last.order === order) last.count += 1
    else visits.push({ group: made.group, order, count: 1 })
  }
  const most = Math.max(plan.numRetries, ...Object.values(plan.retryPolicy)) + 1 + (plan.hedgeAfter === null ? 0 : 1)
  const groups: Group[] = []
  visits.forEach(({ group, order, count }, n) => {
    demand(count <= most, `${count} attempts in one tier`)
    const last = visits[n - 1]
    if (last?.group !== group) {
      demand(!groups.includes(group), `the group ${group} was tried twice`)
      groups.push(group)
    } else demand(last.order < order, `order ${order} was tried after ${last.order}`)
  })
  const may = journeyOf(plan)
  let at = -1
  for (const group of groups) {
    const found = may.indexOf(group, at + 1)
    demand(found > at, `${groups} were tried, and may be: ${may}`)
    at = found
  }
}

/** Deployments without an order come last. */
function orderOf(order: number | null): number {
  return order ?? Number.POSITIVE_INFINITY
}

/** Groups in the order in which they are tried when each fails. */
function journeyOf({ fallbacks, maxFallbacks, deployments }: Plan): Group[] {
  const exists = (group: Group) => deployments.some((made) => made.group === group)
  const journey: Group[] = ['gpt']
  const waiting = [...(fallbacks.gpt ?? fallbacks['*'] ?? [])]
  while (waiting.length > 0 && journey.length <= maxFallbacks) {
    const next = waiting.shift() as Group
    if (journey.includes(next) || !exists(next)) continue
    journey.push(next)
    waiting.unshift(...(fallbacks[next] ?? fallbacks['*'] ?? []))
  }
  return journey
}

/** What the client made of the answer. */
interface Heard {
  end: 'stop' | 'error' | 'cut'
  text: string
  input: string
  finishes: number
  roles: number
  usage: { prompt: number; completion: number } | null
}

function checkAnswer(plan: Plan, run: Run, event: UsageEvent, calls: readonly Played[]): void {
  const { client, planned } = run
  const { head } = client
  if (head === null) {
    demand(run.left !== null, 'nothing was answered')
    return
  }
  if (head.status !== 200) {
    const { error } = JSON.parse(client.text) as { error?: { message?: string } }
    demand(typeof error?.message === 'string', 'an error without a message')
    demand(event.outcome === 'failure' && head.status >= 400, `${head.status} is told as ${event.outcome}`)
    demand(speakers(client.text).length === 0, 'an error with part of an answer')
    return
  }
  const heard = planned.stream ? listen[run.dialect === 'anthropic' ? 'anthropic' : 'openai'](client.text) : read(client.text)
  if (run.left === null) {
    demand(heard.end !== 'cut', 'a stream ended without its end')
    demand(event.outcome === (heard.end === 'stop' ? 'success' : 'partial'), `an answer is told as ${event.outcome}`)
  }
  checkWords(plan, run, event, calls, heard)
}

function checkWords(plan: Plan, run: Run, event: UsageEvent, calls: readonly Played[], heard: Heard): void {
  const chain = speakers(heard.text + heard.input)
  demand(
    chain.every((index, n) => n === 0 || index > (chain[n - 1] as number)),
    `speakers in the order ${chain}`,
  )
  demand(chain.length <= (plan.failover.enabled && run.planned.stream ? plan.failover.max : 0) + 1, `${chain.length} speakers`)
  const spoke = chain.map((index) => {
    const at = calls.findIndex((played) => played.index === index)
    demand(at >= 0, 'words of another call')
    return { played: calls[at] as Played, attempt: event.attempts[at] as Attempt }
  })
  let text = ''
  let tools = 0
  for (const { played, attempt } of spoke) {
    demand(attempt.usage !== undefined, `attempt ${attempt.index} said something and has no usage`)
    if (text !== '')
      demand(beginningOf(played.body)?.text.trimEnd() === text.trimEnd(), `attempt ${attempt.index} goes on with something else`)
    text += played.said.text
    if (speakers(heard.input).includes(played.index)) tools += 1
  }
  const last = spoke.at(-1)
  demand(tools <= 1, 'tool calls of two providers')
  demand(run.left !== null || heard.text === text, `the text is ${JSON.stringify(heard.text)}, not ${JSON.stringify(text)}`)
  demand(text.startsWith(heard.text), `the text is ${JSON.stringify(heard.text)}, not a beginning of ${JSON.stringify(text)}`)
  if (heard.end === 'error' || run.left !== null) return
  demand(heard.finishes === 1 && heard.roles === 1, `${heard.finishes} finish reasons, ${heard.roles} roles`)
  const successes = event.attempts.filter(({ outcome }) => outcome === 'success')
  // Two of a pair may be done before either is stopped: both are billed, and one is shown.
  demand(successes.length === 1 || (plan.hedgeAfter !== null && successes.length === 2), `${successes.length} attempts succeeded`)
  const success = successes.find((attempt) => attempt === last?.attempt) ?? (successes[0] as Attempt)
  const ending = calls[success.index] as Played
  demand(ending.said.text === ending.whole.text && ending.said.input === ending.whole.input, 'half an answer ended well')
  demand(last === undefined || last.played === ending, 'the last speaker is not who succeeded')
  demand(same(heard.input, ending.whole.input), `the tool call is ${heard.input}`)
  // Whoever lost a race is not waited for.
  demand(event.endedAt - success.endedAt <= SOON, `ended ${event.endedAt - success.endedAt} ms after its answer`)
  checkUsage(heard, event.attempts, ending, success)
}

/** What is billed is what the provider reported, and what is shown is that: of one that answered alone, or of all whose words are in the answer. */
function checkUsage({ usage }: Heard, attempts: readonly Attempt[], ending: Played, success: Attempt): void {
  const reported = usageOf(ending.index)
  const used = success.usage as TokenUsage
  if (ending.play.usage && ending.play.kind === 'whole')
    demand(
      used.input === reported.input && used.output === reported.output && !used.estimated,
      `${JSON.stringify(used)} is billed`,
    )
  if (usage === null || used.estimated) return
  const all = attempts.filter((attempt) => attempt === success || attempt.outcome === 'partial')
  const sum = (of: 'input' | 'output') => all.reduce((total, attempt) => total + (attempt.usage?.[of] ?? 0), 0)
  const alone = usage.prompt === used.input && usage.completion === used.output
  const together = usage.prompt === sum('input') && usage.completion === sum('output')
  demand(alone || together, `usage shown ${JSON.stringify(usage)}, billed ${sum('input')} and ${sum('output')}`)
}

function same(heard: string, input: string): boolean {
  if (heard === input) return true
  return heard !== '' && input !== '' && JSON.stringify(JSON.parse(heard)) === JSON.stringify(JSON.parse(input))
}

const listen = {
  openai(bytes: string): Heard {
    const heard: Heard = { end: 'cut', text: '', input: '', finishes: 0, roles: 0, usage: null }
    const ids = new Set<string>()
    const parser = new SseParser()
    for (const { data } of [...parser.push(Buffer.from(bytes)), ...parser.end()]) {
      demand(heard.end === 'cut', 'events after the end')
      if (data === '[DONE]') {
        heard.end = 'stop'
        continue
      }
      const chunk = JSON.parse(data)
      if (chunk.error !== undefined) {
        heard.end = 'error'
        continue
      }
      ids.add(`${chunk.id} ${chunk.created} ${chunk.model}`)
      if (chunk.usage) {
        demand(heard.usage === null, 'usage twice')
        heard.usage = { prompt: chunk.usage.prompt_tokens, completion: chunk.usage.completion_tokens }
      }
      for (const { delta, finish_reason: finish } of chunk.choices) {
        demand(heard.finishes === 0 || Object.keys(delta ?? {}).length === 0, 'something is said after the finish reason')
        heard.text += delta.content ?? ''
        if (delta.role !== undefined) heard.roles += 1
        if (finish) heard.finishes += 1
        for (const called of delta.tool_calls ?? []) heard.input += called.function?.arguments ?? ''
      }
    }
    demand(ids.size <= 1, `chunks of several answers: ${[...ids]}`)
    return heard
  },

  anthropic(bytes: string): Heard {
    const folded = fold(bytes)
    const heard: Heard = { end: folded.end, text: '', input: '', finishes: folded.stop === null ? 0 : 1, roles: 1, usage: null }
    const parser = new SseParser()
    for (const { data } of [...parser.push(Buffer.from(bytes)), ...parser.end()]) {
      const { type, delta } = JSON.parse(data)
      if (type !== 'content_block_delta') continue
      heard.text += delta.text ?? ''
      heard.input += delta.partial_json ?? ''
    }
    return heard
  },
}

/** A whole answer, in either protocol. */
function read(body: string): Heard {
  const answer = JSON.parse(body)
  const heard: Heard = { end: 'stop', text: '', input: '', finishes: 1, roles: 1, usage: null }
  if (answer.choices !== undefined) {
    const { message } = answer.choices[0]
    heard.text = message.content ?? ''
    for (const called of message.tool_calls ?? []) heard.input += called.function.arguments
    return heard
  }
  for (const block of answer.content) {
    heard.text += block.text ?? ''
    if (block.type === 'tool_use') heard.input += JSON.stringify(block.input)
  }
  return heard
}

/** After the end of all calls nothing runs and nothing happens. */
async function checkLeftovers(world: Simulated): Promise<void> {
  const { gateway, played, runs } = world
  const { clock, wheel, states, sent, events } = gateway
  demand(world.begun === world.ended, `${world.begun} begun, ${world.ended} ended`)
  demand(world.begun === sent.length, `${world.begun} attempts begun for ${sent.length} provider calls`)
  for (const { over, complete, sent: one, index } of played)
    demand(over || complete || one.aborted, `provider call ${index} still runs`)
  for (const { id, inFlight } of states.view()) demand(inFlight === 0, `${id} has ${inFlight} in flight`)
  demand(wheel.pending === 0, `${wheel.pending} deadlines left`)
  demand(clock.pending === 0, `${clock.pending} timers left`)
  const before = [sent.length, events.length, ...runs.map(({ client }) => client.text.length + client.ends)]
  for (const run of runs) {
    demand(run.client.stream.onWritable === null, `${run.id} still waits to write`)
  }
  clock.advance(120_000)
  await settled()
  const after = [sent.length, events.length, ...runs.map(({ client }) => client.text.length + client.ends)]
  demand(String(before) === String(after), 'something happened after the end')
}

function hostOf(url: string): string {
  return new URL(url).hostname.split('.')[0] as string
}

function describeRun({ gateway, played }: Simulated, run: Run): string {
  const calls = played.filter((one) => callIdIn(one) === run.id)
  const lines = calls.map(
    ({ index, at, sent, play, said, over, steps }) =>
      `  ${index} at ${at} ${hostOf(sent.request.url)} ${play.kind} said ${JSON.stringify(said.text + said.input)}${over ? ' over' : ''}${sent.aborted ? ' aborted' : ''}${sent.paused ? ' paused' : ''} ${steps.length} left`,
  )
  const event = gateway.events.find(({ callId }) => callId === run.id)
  return [...lines, JSON.stringify(event), run.client.text].join('\n')
}
