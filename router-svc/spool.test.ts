import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { testClock } from '../shared/clock.ts'
import { silentLog } from '../shared/log.ts'
import { openSpool, type SpoolOptions } from './spool.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'spool-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const encode = (text: string): Uint8Array => Buffer.from(text)
const decode = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
/** Files that still hold something. */
const kept = (home: string): string[] => readdirSync(home).filter((name) => statSync(join(home, name)).size > 0)
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

function make(options: Partial<SpoolOptions<string>> = {}) {
  const clock = testClock()
  const delivered: string[] = []
  const failures = { left: 0 }
  const spool = openSpool({
    directory,
    encode,
    idOf: (text) => text.slice(text.indexOf(':') + 1),
    decode,
    soon: (run) => run(),
    clock,
    log: silentLog,
    deliver: async (batch) => {
      if (failures.left > 0) {
        failures.left -= 1
        throw new Error('away')
      }
      delivered.push(...batch)
    },
    ...options,
  })
  return { clock, delivered, failures, spool }
}

describe('the spool', () => {
  it('delivers events in order and leaves no file behind', async () => {
    const { clock, delivered, spool } = make()
    for (const text of ['a', 'b', 'c']) spool.append(text)
    expect(spool.pending).toBe(3)
    clock.advance(10)
    await settled()
    expect(delivered).toEqual(['a', 'b', 'c'])
    expect(spool.pending).toBe(0)
    expect(kept(directory)).toEqual([])
    spool.close()
  })

  it('has an event on disk when its turn is over, so that a killed process loses none', async () => {
    const first = make({ deliver: () => new Promise(() => {}) })
    first.spool.append('one')
    first.spool.append('two')
    // No close: the process is gone at this very instant.
    const second = make()
    expect(second.spool.pending).toBe(2)
    second.clock.advance(10)
    await settled()
    expect(second.delivered).toEqual(['one', 'two'])
    expect(kept(directory)).toEqual([])
    first.spool.close()
    second.spool.close()
  })

  it('keeps a rejected batch and delivers it after a growing pause, before what came later', async () => {
    const { clock, delivered, failures, spool } = make()
    failures.left = 3
    spool.append('a')
    clock.advance(10)
    await settled()
    spool.append('b')
    for (const pause of [100, 200, 400]) {
      expect(delivered).toEqual([])
      clock.advance(pause)
      await settled()
    }
    expect(delivered).toEqual(['a', 'b'])
    spool.close()
  })

  it('reads up to a record cut off by a crash and keeps the damaged file aside', async () => {
    const first = make({ deliver: () => new Promise(() => {}) })
    first.spool.append('whole')
    const file = join(directory, readdirSync(directory)[0] as string)
    appendFileSync(file, Buffer.from([0, 0, 0, 9, 1, 2]))
    const second = make()
    second.clock.advance(10)
    await settled()
    expect(second.delivered).toEqual(['whole'])
    expect(readdirSync(directory)).toEqual([expect.stringMatching(/\.damaged$/)])
    first.spool.close()
    second.spool.close()
  })

  it('is full at its bound and has room again after delivery', async () => {
    const { clock, failures, spool } = make({ maxBytes: 64 })
    failures.left = 1
    spool.append('x'.repeat(100))
    expect(spool.full).toBe(true)
    clock.advance(10)
    await settled()
    expect(spool.full).toBe(true)
    clock.advance(100)
    await settled()
    expect(spool.full).toBe(false)
    spool.close()
  })

  it('keeps an event in memory and takes no new calls when the disk refuses it', async () => {
    const { clock, delivered, spool } = make()
    // The next segment's name is taken by something that is not ours.
    writeFileSync(join(directory, '0000000001.spool'), '')
    spool.append('kept')
    expect(spool.full).toBe(true)
    clock.advance(10)
    await settled()
    expect(delivered).toEqual(['kept'])
    // With nothing left at risk it takes calls again, and the next event goes to a file of its own.
    expect(spool.full).toBe(false)
    spool.append('next')
    expect(kept(directory)).toEqual(['0000000002.spool'])
    spool.close()
  })

  it('holds no more in memory than it may, and reads the rest back in order', async () => {
    const { clock, delivered, spool } = make({ memoryEvents: 10, segmentBytes: 200, batch: 4 })
    const all = Array.from({ length: 100 }, (_, index) => `event ${index}`)
    for (const event of all) spool.append(event)
    for (let round = 0; round < 40 && spool.pending > 0; round += 1) {
      clock.advance(200)
      await settled()
    }
    expect(delivered).toEqual(all)
    spool.close()
    expect(readdirSync(directory)).toEqual([])
  })

  it('writes all events of one turn together, and says so only when they are in the file', () => {
    let turn = () => {}
    const { spool } = make({
      soon: (run) => {
        turn = run
      },
    })
    const sizes: number[] = []
    const size = () => readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
    for (const event of ['a', 'b', 'c']) spool.append(event, () => sizes.push(size()))
    expect(size()).toBe(0)
    turn()
    expect(sizes).toEqual([27, 27, 27])
    spool.close()
  })

  it('flush waits for the acknowledgement and says what is left when the time is up', async () => {
    let acknowledge = () => {}
    const { clock, spool } = make({ deliver: () => new Promise<void>((resolve) => (acknowledge = resolve)) })
    spool.append('a')
    const early = spool.flush(50)
    clock.advance(50)
    expect(await early).toBe(1)
    const late = spool.flush(1_000)
    acknowledge()
    expect(await late).toBe(0)
    spool.close()
  })

  it('delivers every event at least once, in order, over any mixture of failures, rotations and crashes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom('append', 'tick', 'fail', 'crash'), { maxLength: 60 }), async (steps) => {
        const home = mkdtempSync(join(tmpdir(), 'spool-property-'))
        const delivered: string[] = []
        let failing = 0
        const open = () => {
          const clock = testClock()
          const spool = openSpool({
            directory: home,
            encode,
            idOf: (text) => text,
            decode,
            memoryEvents: 4,
            soon: (run) => run(),
            clock,
            log: silentLog,
            segmentBytes: 40,
            batch: 3,
            deliver: async (batch) => {
              if (failing > 0) {
                failing -= 1
                throw new Error('away')
              }
              delivered.push(...batch)
            },
          })
          return { clock, spool }
        }
        let { clock, spool } = open()
        let count = 0
        for (const step of steps) {
          if (step === 'append') spool.append(`event ${count++}`)
          else if (step === 'fail') failing += 1
          else if (step === 'tick') {
            clock.advance(3_000)
            await settled()
          } else {
            spool.close()
            ;({ clock, spool } = open())
          }
        }
        failing = 0
        for (let round = 0; round < 10 && spool.pending > 0; round += 1) {
          clock.advance(3_000)
          await settled()
        }
        spool.close()
        const expected = Array.from({ length: count }, (_, index) => `event ${index}`)
        expect([...new Set(delivered)].sort()).toEqual([...expected].sort())
        expect(readdirSync(home)).toEqual([])
        rmSync(home, { recursive: true })
      }),
      { numRuns: 60 },
    )
  })
})
