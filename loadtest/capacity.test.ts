import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { subjects } from '../proto/subjects.ts'
import { type Inputs, readInputs } from './capacity-inputs.ts'
import { busiestShares, cellLimit, SLOTS, sizeCalls, sizeStreams, slotOf, zipf } from './capacity-model.ts'
import { capacitySheet } from './capacity-sheet.ts'

const ROOT = join(import.meta.dirname, '..')
const source = { file: 'a', line: 1, at: '2026-01-01', note: '' }
const INPUTS: Inputs = {
  call: { cost: { edge: 50, router: 100, nats: 40, redis: 20, accounting: 30, postgres: 60 }, source },
  chunk: { cost: { edge: 5, router: 10, nats: 8, redis: 0, accounting: 0, postgres: 0 }, source },
  memory: { edge: 1e8, router: 2e8, accounting: 1e8 },
  perStream: { bytes: 30_000, source },
  ledger: { perSecond: 8_000, accounting: 50, postgres: 100, source },
  rows: { ledger: 800, total: 1_400, source },
  jetstream: { stored: 60_000, one: 40_000, two: 30_000, shares: [0.5, 0.5], eventBytes: 1_000, source },
}

function text(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8')
}

describe('the capacity sheet', () => {
  it('is what the recorded results yield; npm run capacity writes it anew', () => {
    expect(text('deploy/capacity.md')).toBe(capacitySheet(readInputs()))
  })

  it('names a line of a file for each figure, and the line is there', () => {
    const { call, chunk, perStream, ledger, rows, jetstream } = readInputs()
    for (const { file, line, at } of [call, chunk, perStream, ledger, rows, jetstream].map((one) => one.source)) {
      expect(JSON.parse(text(file).split('\n')[line - 1] as string)).toMatchObject({ at })
    }
  })
})

describe('the size of a cluster', () => {
  it('follows from cost, rate and headroom', () => {
    const size = sizeCalls(INPUTS, 100_000)
    // 100,000 × 50 µs × 2 = 10 cores, and twice that for routers.
    expect(size).toMatchObject({ edges: 10, routers: 20, cells: 25, redisPrimaries: 25, accountings: 50 })
    // 100,000 × 40 µs × 2 hops × 2 / 8 cores = 2: three are needed to agree.
    expect(size.natsServers).toBe(3)
    expect(size.backlog).toBe(100_000 * 1_000 * 3 * 86_400)
    expect(size.rowBytesPerDay).toBe(100_000 * 86_400 * 1_400)
    expect(size.memory).toBe(10 * 1e8 + 20 * 2e8 + 50 * 1e8)
  })

  it('is bounded for one gateway by the least of Redis, ledger and stream', () => {
    expect(cellLimit(INPUTS)).toEqual({ limit: 4_000, by: { redis: 25_000, ledger: 4_000, stream: 15_000 } })
  })

  it('is never less than two of each, for the one that fails', () => {
    expect(sizeCalls(INPUTS, 1)).toMatchObject({ edges: 2, routers: 2, accountings: 2, natsServers: 3, nodes: 2 })
  })

  it('counts streams by their chunks and their memory', () => {
    const size = sizeStreams(INPUTS, 10_000, 50)
    expect(size).toMatchObject({ chunks: 500_000, edges: 5, routers: 10, memory: 3e8 })
  })
})

describe('tenants put on shards by hash', () => {
  it('land in the slots of a Redis cluster', () => {
    // Check value of CRC-16/XMODEM.
    expect(slotOf('123456789')).toBe(0x31c3)
    expect(slotOf('{tp}:counters:state')).toBe(slotOf('{tp}:counters:leases'))
    expect(slotOf('{tp}:counters:state')).toBe(slotOf('tp'))
    expect(slotOf('anything')).toBeLessThan(SLOTS)
  })

  it('leave the busiest with its even share at least, and with the biggest tenant whole', () => {
    const shares = zipf(1_000, 1)
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9)
    const shards = [1, 4, 64, 1_000]
    const busiest = busiestShares(shares, shards)
    for (const [index, count] of shards.entries()) {
      expect(busiest[index]).toBeGreaterThanOrEqual(Math.max(1 / count, shares[0] as number) - 1e-12)
    }
    expect(busiest[0]).toBeCloseTo(1, 9)
  })

  it('spread well when no tenant is big', () => {
    expect(busiestShares(zipf(20_000, 0), [8])[0]).toBeLessThan(0.14)
  })
})

describe('what the sheet says is not there', () => {
  it('is not there: one lane, one slot, one stream with one consumer, months in one ledger', () => {
    expect(text('edge/inference.ts')).toMatch(/const LANE = 'default'/)
    expect(text('shared/counters/redis.ts')).toMatch(/\{\$\{options\.prefix\}\}:counters:/)
    expect(text('shared/redis.ts')).not.toMatch(/new (Redis\.)?Cluster\(/)
    expect(subjects().usageStream).toBe('TP_USAGE')
    expect(subjects().usageAll).toBe('tp.usage.*')
    expect(text('accounting-svc/ledger/consume.ts')).toContain("bus.consume('ledger'")
    expect(text('accounting-svc/sql/partitions.ts')).toContain('the month which holds')
    expect(text('shared/bus/nats.ts')).toContain('ACK_PENDING_MAX = 256')
  })
})
