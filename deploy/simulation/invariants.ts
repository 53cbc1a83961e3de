import { hashKey } from '../../shared/config/secrets.ts'
import { LEASE_TTL } from '../../shared/counters/counters.ts'
import { INPUT_NANO, OUTPUT_NANO } from './plan.ts'
import type { Scene } from './run.ts'
import type { Served } from './upstream.ts'

/** A row of the ledger as the checks read it. */
interface Row {
  call_id: string
  take: number
  attempt: number
  entry: 'settled' | 'unsettled' | 'reversal'
  started: number
  booked: number
  key_hash: string
  tag: string | null
  deployment: string | null
  outcome: string
  status: number
  input: number
  output: number
  estimated: boolean
  cost: number
}

const LEDGER = `select call_id, take, attempt, entry, key_hash, end_user as tag, deployment_id as deployment, outcome, status,
  (extract(epoch from attempt_started_at) * 1000)::bigint as started, (extract(epoch from booked_at) * 1000)::bigint as booked, input_tokens as input, output_tokens as output, estimated,
  cost_nano as cost from ledger order by end_user, call_id, take, attempt, entry`

/** What must hold once everything has come to rest. */
export async function checkRun(scene: Scene, atRest: boolean): Promise<void> {
  const { violations, counters, database, cluster, bus, clients } = scene
  if (!atRest) {
    const totals = await counters.look()
    const routers = cluster.slots.filter(({ role }) => role === 'router')
    const spooled = routers.map(({ service }) => (service as { spoolPending?: number } | null)?.spoolPending)
    violations.push(
      `rest: ${JSON.stringify({ ...totals, events: !bus.durable.empty, spooled, transactions: database.open, exchanges: clients.open, upstream: scene.upstream.open.length, streams: bus.open.streams, ready: cluster.ready })}`,
    )
  }
  const rows = await database.look<Row>(LEDGER)
  checkAnswers(scene, rows)
  checkBooked(scene, rows)
  await checkSpent(scene, rows)
}

/** Every call ended, and the client got whole pieces of what was said, in order. */
function checkAnswers({ clients, upstream, violations, plan }: Scene, rows: readonly Row[]): void {
  const calls = clients.answers.filter(({ request }) => request.tag.startsWith('call-'))
  if (calls.length !== plan.calls.length) violations.push(`ended: ${plan.calls.length - calls.length} calls were never made`)
  for (const { request, how, status, text, headers } of calls) {
    const { tag } = request
    if (how === null) {
      violations.push(`ended: ${tag} has no answer`)
      continue
    }
    const content = said(text, headers['content-type'] ?? '')
    const spoken = [...content.matchAll(/<(\d+)\.(\d+)>/g)].map(([, attempt, word]) => ({
      attempt: Number(attempt),
      word: Number(word),
    }))
    if (content.replaceAll(/<\d+\.\d+>/g, '') !== '') violations.push(`bytes: ${tag} got what nobody said: ${content}`)
    let last = { attempt: -1, word: -1 }
    for (const one of spoken) {
      const entry = upstream.served[one.attempt]
      if (entry?.tag !== tag) violations.push(`bytes: ${tag} got what was said to ${entry?.tag}`)
      const follows = one.attempt === last.attempt ? one.word === last.word + 1 : one.attempt > last.attempt && one.word === 0
      if (!follows) violations.push(`bytes: ${tag} got <${one.attempt}.${one.word}> after <${last.attempt}.${last.word}>`)
      last = one
    }
    const whole =
      how === 'answer' && status === 200 && (request.body.includes('"stream":true') ? text.includes('data: [DONE]') : true)
    if (!whole) continue
    const entry = upstream.served[last.attempt]
    if (entry === undefined || last.word !== entry.words.length - 1) {
      violations.push(`bytes: ${tag} ended well with part of its answer: ${content}`)
      continue
    }
    if (entry.aborted && !entry.complete) continue
    const settled = rows.filter(
      (row) => row.tag === tag && row.started === entry.sentAt && row.deployment === entry.deployment && row.entry === 'settled',
    )
    const { input, output } = entry.usage
    if (!settled.some((row) => !row.estimated && row.input === input && row.output === output))
      violations.push(`booked: ${tag} used ${JSON.stringify(entry.usage)} and was booked ${JSON.stringify(settled)}`)
  }
}

/** What the model said in an answer. */
function said(text: string, type: string): string {
  if (!type.startsWith('text/event-stream')) {
    try {
      const { choices } = JSON.parse(text) as { choices?: { message?: { content?: string } }[] }
      return choices?.map(({ message }) => message?.content ?? '').join('') ?? ''
    } catch {
      return ''
    }
  }
  let content = ''
  for (const event of text.split('\n\n').slice(0, -1)) {
    const data = event
      .split('\n')
      .find((line) => line.startsWith('data: '))
      ?.slice(6)
    if (data === undefined || data === '[DONE]') continue
    const { choices } = JSON.parse(data) as { choices?: { delta?: { content?: string } }[] }
    content += choices?.map(({ delta }) => delta?.content ?? '').join('') ?? ''
  }
  return content
}

/** Every attempt that the upstream served is in the ledger once, at the price of its tokens. */
function checkBooked({ upstream, violations, world }: Scene, rows: readonly Row[]): void {
  const alive = new Set(world.processes.map(({ name }) => name))
  const keyOf = (tag: string | null, deployment: string | null, at: number): string => `${tag} at ${deployment} from ${at}`
  const booked = new Map<string, Row[]>()
  for (const row of rows) {
    if (row.cost !== sign(row) * (Math.abs(row.input) * INPUT_NANO + Math.abs(row.output) * OUTPUT_NANO))
      violations.push(`price: ${JSON.stringify(row)}`)
    if (row.deployment === null) continue
    const key = keyOf(row.tag, row.deployment, row.started)
    booked.set(key, [...(booked.get(key) ?? []), row])
  }
  const sent = new Map<string, Served[]>()
  for (const entry of upstream.served) {
    const key = keyOf(entry.tag, entry.deployment, entry.sentAt)
    sent.set(key, [...(sent.get(key) ?? []), entry])
  }
  for (const [key, entries] of sent) {
    const found = booked.get(key) ?? []
    const net = found.reduce((sum, row) => sum + sign(row), 0)
    const served = entries.filter((entry) => isServed(entry, alive)).length
    // Two takes of a call may begin in the same millisecond.
    if (net < served || net > entries.length)
      violations.push(`booked: ${key} was served ${served} times and has ${net} entries: ${JSON.stringify(found)}`)
  }
  for (const [key, found] of booked) {
    const billed = found.reduce((sum, row) => sum + row.cost, 0)
    if (!sent.has(key) && billed > 0 && found.some(({ entry }) => entry === 'settled'))
      violations.push(`booked: ${key} was never sent: ${JSON.stringify(found)}`)
  }
}

/**
 * Whether an attempt must be booked. One that its router gave up on before it read a word of the answer is a failure that costs nothing, even if
 * words were on the way: the router had been frozen past the limit. One whose router died is booked by whoever finds its intent.
 */
function isServed({ arrived, status, said, heard, process }: Served, alive: ReadonlySet<string>): boolean {
  return arrived && status === 200 && (heard > 0 || (said > 0 && !alive.has(process)))
}

function sign(row: Row): 1 | -1 {
  return row.entry === 'reversal' ? -1 : 1
}

/** The sums are those of the ledger, the counters know them, and no budget is exceeded. */
async function checkSpent({ plan, database, counters, violations }: Scene, rows: readonly Row[]): Promise<void> {
  const spent = await database.look<{ scope: string; spent: number }>(
    'select scope, spent_nano::bigint as spent from spend order by scope',
  )
  for (const { name, budget } of plan.keys) {
    const hash = hashKey(name)
    const sum = rows.filter((row) => row.key_hash === hash).reduce((total, row) => total + row.cost, 0)
    const scope = `key|${hash}`
    const kept = spent.find((row) => row.scope === scope)?.spent ?? 0
    if (kept !== sum) violations.push(`sums: ${name} spent ${sum} by the ledger and ${kept} by its sum`)
    if (budget === null) continue
    const beyond = beyondHolds(rows.filter((row) => row.key_hash === hash))
    if (sum > budget + beyond)
      violations.push(
        `budget: ${name} spent ${sum} of ${budget}, ${beyond} of it beyond its holds: ${JSON.stringify(rows.filter((row) => row.key_hash === hash && row.cost !== 0))}`,
      )
    // Where the store's word of what it released was lost, only the next booking or look at the key tells it.
    if (counters.counts.releases > 0) continue
    const [state] = await counters.lookAt([scope])
    if (state !== undefined && state.revision > 0 && state.spent !== sum)
      violations.push(`counters: ${name} spent ${sum} by the ledger and ${state.spent} by the counters`)
  }
}

/**
 * What a key's calls cost that no hold covered, nano-dollars: those whose lease ran out before anybody could report them, and those an edge
 * booked by estimate for a router that was cut off and told their cost later.
 */
function beyondHolds(rows: readonly Row[]): number {
  const calls = new Map<string, { cost: number; late: boolean }>()
  for (const row of rows) {
    const id = `${row.call_id} ${row.take}`
    const call = calls.get(id) ?? { cost: 0, late: false }
    calls.set(id, {
      cost: call.cost + row.cost,
      late: call.late || row.entry === 'reversal' || row.booked - row.started > LEASE_TTL,
    })
  }
  let sum = 0
  for (const { cost, late } of calls.values()) if (late) sum += cost
  return sum
}

/** What must be gone after everything was stopped. */
export function checkLeaks({ world, bus, clients, upstream, database, violations }: Scene): void {
  for (const { name, timers } of world.processes) if (timers !== 0) violations.push(`left: ${name} has ${timers} timers`)
  const { streams, subscriptions } = bus.open
  if (streams + subscriptions > 0) violations.push(`left: ${streams} streams, ${subscriptions} subscriptions on the bus`)
  if (clients.open > 0) violations.push(`left: ${clients.open} exchanges`)
  for (const { index, tag, play, process } of upstream.open)
    violations.push(`left: request ${index} of ${tag} (${play}) by ${process}`)
  if (database.open > 0) violations.push(`left: ${database.open} transactions`)
}
