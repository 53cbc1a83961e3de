import { appendFileSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { testClock } from '../shared/clock.ts'
import { silentLog } from '../shared/log.ts'
import { openSpool, type Spool, type SpoolOptions } from './spool.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'spool-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const encode = (text: string): string => text
const decode = encode
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

  it('writes all events of a turn together when turns bring several, and says so only when they are in the file', () => {
    let turn = () => {}
    const { spool } = make({
      soon: (run) => {
        turn = run
      },
    })
    const sizes: number[] = []
    const size = () => readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
    for (const event of ['x', 'y', 'z']) spool.append(event)
    turn()
    for (const event of ['a', 'b', 'c']) spool.append(event, () => sizes.push(size()))
    expect(size()).toBe(27)
    turn()
    expect(sizes).toEqual([54, 54, 54])
    spool.close()
  })

  it('writes the event of a call that is alone at once, and that of its turn when it is told to', () => {
    const { spool } = make({ idOf: callOf, soon: () => undefined })
    const size = () => statSync(join(directory, '0000000001.spool')).size
    spool.intend('intent:a')
    expect(kept(directory)).toEqual([])
    spool.writeNow()
    expect(size()).toBe(20)
    let told = false
    spool.append('event:a', () => {
      told = true
    })
    expect(told).toBe(true)
    expect(size()).toBe(39)
    spool.append('event:b', () => {
      told = false
    })
    expect(told).toBe(true)
    spool.close()
    expect(told).toBe(false)
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

/** `intent 1:a` and `event:a` are of the call `a`. */
const callOf = (text: string): string => text.slice(text.indexOf(':') + 1)

/** What a process that opens a copy of these files delivers. */
async function recovered(home: string): Promise<string[]> {
  const copy = mkdtempSync(join(tmpdir(), 'spool-copy-'))
  cpSync(home, copy, { recursive: true })
  const { clock, delivered, spool } = make({ directory: copy, idOf: callOf })
  for (let round = 0; round < 20 && spool.pending > 0; round += 1) {
    clock.advance(3_000)
    await settled()
  }
  expect(spool.pending).toBe(0)
  spool.close()
  // Nothing of it is delivered a second time.
  expect(readdirSync(copy).filter((name) => !name.endsWith('.damaged'))).toEqual([])
  rmSync(copy, { recursive: true })
  return delivered
}

describe('an intent', () => {
  it('is delivered by the next process when its call was never reported, and not when it was', async () => {
    const { clock, delivered, spool } = make({ idOf: callOf })
    spool.intend('intent:a', () => {})
    spool.intend('intent:b', () => {})
    expect(await recovered(directory)).toEqual(['intent:a', 'intent:b'])
    spool.append('event:a')
    expect(await recovered(directory)).toEqual(['intent:b', 'event:a'])
    clock.advance(10)
    await settled()
    expect(delivered).toEqual(['event:a'])
    expect(spool.open).toBe(1)
    // Not yet deleted, and accounting knows it: delivered again.
    expect(await recovered(directory)).toEqual(['intent:b', 'event:a'])
    spool.append('event:b')
    clock.advance(10)
    await settled()
    expect(delivered).toEqual(['event:a', 'event:b'])
    expect(kept(directory)).toEqual([])
    spool.close()
  })

  it('of another attempt replaces that of the former', async () => {
    const { spool } = make({ idOf: callOf, segmentBytes: 20 })
    spool.intend('intent 1:a', () => {})
    spool.intend('intent 1:b', () => {})
    spool.intend('intent 2:a', () => {})
    expect(spool.open).toBe(2)
    expect(await recovered(directory)).toEqual(['intent 1:b', 'intent 2:a'])
    spool.append('event:a')
    spool.append('event:b')
    expect(await recovered(directory)).toEqual(['event:a', 'event:b'])
    spool.close()
  })

  it('counts until its event is whole in the file, whichever byte was the last', async () => {
    const { spool } = make({ idOf: callOf })
    spool.intend('intent:a', () => {})
    const file = join(directory, '0000000001.spool')
    const before = statSync(file).size
    spool.append('event:a')
    const whole = readFileSync(file)
    const cut = mkdtempSync(join(tmpdir(), 'spool-cut-'))
    for (let length = before; length <= whole.length; length += 1) {
      writeFileSync(join(cut, '0000000001.spool'), whole.subarray(0, length))
      expect(await recovered(cut)).toEqual([length < whole.length ? 'intent:a' : 'event:a'])
    }
    rmSync(cut, { recursive: true })
    spool.close()
  })

  it('is still closed by its event after all is delivered, when another keeps its segment', async () => {
    const { clock, spool } = make({ idOf: callOf, segmentBytes: 40 })
    spool.intend('intent:a', () => {})
    spool.intend('intent:b', () => {})
    spool.append('event:a')
    clock.advance(10)
    await settled()
    expect(spool.pending).toBe(0)
    expect(await recovered(directory)).toEqual(['intent:b', 'event:a'])
    spool.close()
  })

  it('goes out with the events and intents of its turn in one write, and its caller is told when it is in the file', () => {
    let turn = () => {}
    let turns = 0
    const { spool } = make({
      idOf: callOf,
      soon: (run) => {
        turns += 1
        turn = run
      },
    })
    const sizes: number[] = []
    const written = () => sizes.push(statSync(join(directory, '0000000001.spool')).size)
    for (const event of ['event:x', 'event:y', 'event:z']) spool.append(event)
    turn()
    spool.intend('intent:a', written)
    spool.append('event:b', written)
    spool.intend('intent:c', written)
    expect(turns).toBe(2)
    turn()
    // Two headers with a number, one without.
    expect(sizes).toEqual([45 + 12 + 8 + 8 + 7 + 12 + 8, 100, 100])
    spool.close()
  })

  it('lets its call go on when the disk refuses it', async () => {
    const { clock, delivered, spool } = make({ idOf: callOf })
    writeFileSync(join(directory, '0000000001.spool'), '')
    const told: string[] = []
    spool.intend('intent:a', () => told.push('intended'))
    expect(told).toEqual(['intended'])
    expect(spool.full).toBe(true)
    spool.append('event:a', () => told.push('reported'))
    expect(told).toEqual(['intended', 'reported'])
    clock.advance(10)
    await settled()
    expect(delivered).toEqual(['event:a'])
    expect(spool.full).toBe(false)
    spool.close()
  })

  it('stays until its event is delivered when the disk refuses the event', async () => {
    const { clock, spool } = make({ idOf: callOf, segmentBytes: 1 })
    spool.intend('intent:a', () => {})
    writeFileSync(join(directory, '0000000002.spool'), '')
    spool.append('event:a')
    expect(spool.open).toBe(1)
    expect(await recovered(directory)).toEqual(['intent:a'])
    clock.advance(10)
    await settled()
    expect(spool.open).toBe(0)
    expect(kept(directory)).toEqual([])
    spool.close()
  })

  it('of a call that runs for long moves on, so that what was delivered around it goes', async () => {
    const { clock, spool } = make({ idOf: callOf, maxBytes: 8_000 })
    spool.intend('intent:long', () => {})
    for (let index = 0; index < 1_000; index += 1) {
      spool.intend(`intent:${index}`, () => {})
      spool.append(`event:${index}`)
      clock.advance(10)
      await settled()
      expect(spool.full).toBe(false)
    }
    const files = readdirSync(directory)
    expect(files.length).toBeLessThanOrEqual(2)
    expect(files).not.toContain('0000000001.spool')
    expect(await recovered(directory)).toContain('intent:long')
    spool.append('event:long')
    clock.advance(10)
    await settled()
    expect(kept(directory)).toEqual([])
    spool.close()
  })

  it('is not copied round and round when nearly everything is open, and the files stay within four times what is', async () => {
    const { clock, spool } = make({ idOf: callOf, maxBytes: 1_000_000, segmentBytes: 1_000 })
    for (let index = 0; index < 500; index += 1) spool.intend(`intent:long-${index}`, () => {})
    const openBytes = 500 * (12 + 'intent:long-100'.length)
    let written = 0
    let last = 0
    const size = () => readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
    for (let index = 0; index < 2_000; index += 1) {
      spool.append(`event:short-${index}`)
      clock.advance(10)
      await settled()
      expect(size()).toBeLessThan(4 * openBytes + 3_000)
      const newest = Math.max(...readdirSync(directory).map((name) => Number(name.slice(0, 10))))
      written += newest - last
      last = newest
    }
    // Segments begun: 50 KB of short events and 13 KB of intents, and as much again at most for the copies.
    expect(written).toBeLessThan(120)
    expect((await recovered(directory)).length).toBeGreaterThanOrEqual(500)
    spool.close()
  })

  it('that nobody reported is delivered once, as itself or as its event, from every state a crash can leave', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('intend' as const), call: fc.nat(9) }),
      fc.record({ do: fc.constant('append' as const), call: fc.nat(9) }),
      fc.record({ do: fc.constantFrom('tick' as const, 'first' as const, 'last' as const, 'fail' as const), call: fc.nat(9) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), fc.double({ min: 0, max: 1, noNaN: true }), crashes),
      { numRuns: 40 },
    )
  }, 60_000)
})

type Files = Map<string, Buffer>

function filesOf(home: string): Files {
  return new Map(
    readdirSync(home)
      .sort()
      .map((name) => [name, readFileSync(join(home, name))]),
  )
}

async function fromFiles(files: Files): Promise<string[]> {
  const home = mkdtempSync(join(tmpdir(), 'spool-state-'))
  for (const [name, bytes] of files) writeFileSync(join(home, name), bytes)
  const delivered = await recovered(home)
  rmSync(home, { recursive: true })
  return delivered
}

/** Runs the steps, and at each looks at what a crash there, in the middle of a write or between two deletions would leave. */
async function crashes(steps: readonly { do: string; call: number }[], cut: number): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'spool-crashes-'))
  const acknowledged: string[] = []
  const held: { batch: string[]; resolve: () => void; reject: (error: Error) => void }[] = []
  const { clock, spool } = make({
    directory: home,
    idOf: callOf,
    memoryEvents: 3,
    segmentBytes: 60,
    batch: 2,
    deliver: (batch) => new Promise((resolve, reject) => held.push({ batch, resolve, reject })),
  })
  const intents = new Map<string, string>()
  const events = new Map<string, string>()
  const check = async (files: Files): Promise<void> => {
    const got = await fromFiles(files)
    for (const [call, event] of events) {
      expect(acknowledged.includes(event) || got.includes(event)).toBe(true)
      expect(got.filter((text) => text.startsWith('intent') && callOf(text) === call)).toEqual([])
    }
    const open = [...intents].filter(([call]) => !events.has(call)).map(([, text]) => text)
    expect(got.filter((text) => text.startsWith('intent')).sort()).toEqual(open.sort())
    expect(new Set(got).size).toBe(got.length)
  }
  let generation = 0
  for (const step of steps) {
    const before = filesOf(home)
    if (step.do === 'intend' || step.do === 'append') {
      const text = await write(spool, step, generation++, events)
      if (text === null) continue
      const torn = filesOf(home)
      const [name, bytes] = [...torn].at(-1) as [string, Buffer]
      const from = before.get(name)?.length ?? 0
      torn.set(name, bytes.subarray(0, from + Math.floor(cut * (bytes.length - from - 1))))
      await check(torn)
      ;(step.do === 'intend' ? intents : events).set(callOf(text), text)
    } else if (step.do === 'tick') clock.advance(3_000)
    else {
      const batch = step.do === 'last' ? held.pop() : held.shift()
      if (step.do === 'fail') batch?.reject(new Error('away'))
      else if (batch !== undefined) {
        acknowledged.push(...batch.batch)
        batch.resolve()
      }
    }
    await settled()
    await checkBetween(before, filesOf(home), check)
  }
  for (const call of intents.keys()) if (!events.has(call)) spool.append(`event:${call}`)
  while (spool.pending > 0) {
    for (const { resolve } of held.splice(0)) resolve()
    clock.advance(3_000)
    await settled()
  }
  spool.close()
  expect(readdirSync(home)).toEqual([])
  rmSync(home, { recursive: true })
}

/** A call is intended as often as it likes until it is reported, once. */
async function write(
  spool: Spool<string>,
  step: { do: string; call: number },
  generation: number,
  events: ReadonlyMap<string, string>,
): Promise<string | null> {
  if (events.has(String(step.call))) return null
  const text = step.do === 'intend' ? `intent ${generation}:${step.call}` : `event:${step.call}`
  if (step.do === 'intend') spool.intend(text, () => {})
  else spool.append(text)
  return text
}

/** The states between two: files go oldest first, and the one still written to is emptied last. */
async function checkBetween(before: Files, after: Files, check: (files: Files) => Promise<void>): Promise<void> {
  const removed = [...before].filter(([name]) => !after.has(name))
  for (let from = 0; from <= removed.length; from += 1) await check(new Map([...removed.slice(from), ...after]))
  for (const [name, bytes] of before) {
    if ((after.get(name)?.length ?? bytes.length) < bytes.length) await check(new Map([...after, [name, bytes]]))
  }
}
