import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MIGRATIONS } from '../../accounting-svc/accounting.ts'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { createTools, fuzz } from './engine.ts'
import { TARGETS } from './index.ts'
import { createRandom, mutateBytes, mutateJson } from './mutate.ts'
import { decodeCase, encodeCase } from './target.ts'

/** Cases of each target under one seed, and milliseconds for them: `npm run fuzz` is for more. */
const CASES = 80
const DURATION = 1000
const FIXED = 1
/** What starts a whole cluster is for the command; its readers of messages are tried below. */
const HERE = TARGETS.filter(({ name }) => name !== 'bus')

describe('hostile input', () => {
  let database: TestDatabase
  let tools: ReturnType<typeof createTools>
  const random = Math.floor(Math.random() * 2 ** 31)

  beforeAll(async () => {
    database = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
    tools = createTools(database.url)
    console.log(`fuzzed with the seeds ${FIXED} and ${random}`)
  })
  afterAll(async () => {
    await tools?.close()
    await database?.drop()
  })

  it.each(HERE.flatMap((target) => [FIXED, random].map((seed) => ({ name: target.name, seed, target }))))(
    'for $name ends well, all that is kept and new cases of seed $seed',
    async ({ target, seed }) => {
      const { findings, kept, cases } = await fuzz(target, tools, {
        seed,
        cases: CASES,
        duration: DURATION,
        keeps: false,
        replays: seed === FIXED,
        note: (text) => console.log(text),
      })
      expect(findings).toEqual([])
      expect(kept + cases).toBeGreaterThan(0)
    },
    60_000,
  )
})

describe('mutations', () => {
  it('are the same for the same seed', () => {
    const made = (seed: number) => [
      mutateJson({ a: [1, { b: 'c' }], d: null }, createRandom(seed)),
      mutateBytes(Buffer.from('data: {}\n\n'), createRandom(seed)),
    ]
    for (let seed = 0; seed < 50; seed += 1) expect(made(seed)).toEqual(made(seed))
    expect(
      new Set(Array.from({ length: 50 }, (_, seed) => Buffer.from(made(seed)[0] as Uint8Array).toString('hex'))).size,
    ).toBeGreaterThan(30)
  })

  it('survive being kept', () => {
    const one = { head: { path: '/v1', odd: '\n' }, body: Uint8Array.of(10, 0, 255, 10) }
    const back = decodeCase(encodeCase(one))
    expect(back.head).toEqual(one.head)
    expect([...back.body]).toEqual([...one.body])
  })
})
