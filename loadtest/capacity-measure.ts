import { appendFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { NO_TOKENS, type UsageEvent } from '../proto/usage.ts'
import type { Bus } from '../shared/bus/bus.ts'
import { connectNatsBus } from '../shared/bus/nats.ts'
import { systemClock } from '../shared/clock.ts'
import { silentLog } from '../shared/log.ts'
import type { Inputs } from './capacity-inputs.ts'

/** Events of a message, and messages under way at once: what a router's spool does (router-svc/spool.ts). */
const BATCH = 500
const IN_FLIGHT = 4
const PREFIX = 'tpcapacity'

/** Measures the usage stream of a NATS server with JetStream, by the gateway's own bus. Uses a prefix, and so a stream, of its own. */
export async function measureJetstream(url: string, events: number): Promise<Omit<Inputs['jetstream'], 'source'>> {
  const connect = (role: 'router' | 'accounting'): Promise<Bus> =>
    connectNatsBus({ servers: [url], role, prefix: `${PREFIX}${process.pid}`, clock: systemClock, log: silentLog })
  const router = await connect('router')
  try {
    const stored = await storing(router, events)
    // What was stored goes first, so that each round consumes what it stores itself.
    await consuming([router], events)
    const both = async (consumers: number) => {
      const buses = await Promise.all(Array.from({ length: consumers }, () => connect('accounting')))
      try {
        const from = performance.now()
        const consumed = consuming(buses, events)
        await storing(router, events)
        const shares = await consumed
        return { perSecond: perSecond(events, from), shares }
      } finally {
        await Promise.all(buses.map((bus) => bus.close()))
      }
    }
    const one = await both(1)
    const two = await both(2)
    return {
      stored,
      one: one.perSecond,
      two: two.perSecond,
      shares: two.shares.map((count) => Math.round((count / events) * 100) / 100),
      eventBytes: Buffer.byteLength(JSON.stringify(eventOf(0))),
    }
  } finally {
    await router.close()
  }
}

async function storing(bus: Bus, events: number): Promise<number> {
  const from = performance.now()
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < events) {
      const first = next
      next += BATCH
      await bus.append(
        bus.id,
        Array.from({ length: Math.min(BATCH, events - first) }, (_, index) => eventOf(first + index)),
      )
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
  return perSecond(events, from)
}

/** Resolves when all are consumed, with how many each consumer got. The consumers share one name, as accounting processes do. */
function consuming(buses: readonly Bus[], events: number): Promise<number[]> {
  const counts = buses.map(() => 0)
  return new Promise((resolve) => {
    let left = events
    const services = buses.map((bus, index) =>
      bus.consume('ledger', { batch: 1_000, wait: 50, lanes: 2 }, async (batch) => {
        counts[index] = (counts[index] as number) + batch.length
        left -= batch.length
        if (left <= 0)
          queueMicrotask(() => void Promise.all(services.map((service) => service.stop())).then(() => resolve(counts)))
      }),
    )
  })
}

function perSecond(events: number, from: number): number {
  return Math.round((events * 1_000) / (performance.now() - from))
}

/** A call of a key of a team, as routers report it. */
function eventOf(index: number): UsageEvent {
  const now = 1_790_000_000_000 + index
  return {
    ...{ v: 1, callId: `0192f3c4-5b6a-7000-8000-${String(index).padStart(12, '0')}`, take: 1, endpoint: '/v1/chat/completions' },
    ...{ stream: false, keyHash: 'a'.repeat(64), keyAlias: 'application-one', userId: 'user-17', teamId: 'team-4' },
    ...{ organizationId: 'acme', projectId: null, endUser: 'customer-9', tags: ['production', 'chat'] },
    ...{ requestedModel: 'gpt-4o', modelGroup: 'gpt-4o', startedAt: now, firstTokenAt: null, endedAt: now + 800 },
    ...{ outcome: 'success', status: 200, clientIp: '10.20.30.40', routerId: 'router-0192f3c4' },
    attempts: [
      {
        ...{ index: 0, deploymentId: 'b'.repeat(32), provider: 'openai', model: 'gpt-4o', apiBase: 'https://api.openai.com/v1' },
        ...{ startedAt: now, firstTokenAt: null, endedAt: now + 800, outcome: 'success' },
        usage: { ...NO_TOKENS, input: 1_200, output: 300 },
        ...{ reportedModel: 'gpt-4o-2024-08-06', cost: 6_000_000, rateVersion: '2026-11-01' },
      },
    ],
  }
}

/** Measures and appends the line. */
export async function recordParts(natsUrl: string, events: number): Promise<void> {
  const line = {
    at: new Date().toISOString(),
    load: loadavg()[0] ?? 0,
    events,
    jetstream: await measureJetstream(natsUrl, events),
  }
  appendFileSync(join(import.meta.dirname, 'results/parts.jsonl'), `${JSON.stringify(line)}\n`)
}
