import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { silentLog } from '../../../shared/log.ts'
import { idOf, makeGroup, many } from '../routes.testkit.ts'
import { createCustom } from './custom.ts'
import type { Strategy } from './strategy.ts'

const first: Strategy = { choose: (candidates) => candidates[0] ?? null }

function scene(choose: (candidates: readonly { id: string }[]) => unknown) {
  const group = makeGroup(many(3))
  const errors: object[] = []
  const log = { ...silentLog, error: (fields: object) => void errors.push(fields) }
  const custom = createCustom({ clock: group.clock, log, load: async () => ({ default: { choose } }) })
  const strategy = custom.strategy(first)
  return { group, errors, custom, pick: () => idOf(strategy.choose(group.routes, group.context())) }
}

describe('a custom strategy', () => {
  it('is loaded from the file of the settings and chooses', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'turnpike-strategy-'))
    const file = join(folder, 'last.mjs')
    writeFileSync(file, 'export default { choose: (candidates) => candidates[candidates.length - 1] }')
    try {
      const group = makeGroup(many(3))
      const custom = createCustom({ clock: group.clock, log: silentLog })
      const strategy = custom.strategy(first)
      expect(idOf(strategy.choose(group.routes, group.context()))).toBe('d0')
      await custom.use(file)
      expect(idOf(strategy.choose(group.routes, group.context()))).toBe('d2')
      await custom.use(null)
      expect(idOf(strategy.choose(group.routes, group.context()))).toBe('d0')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('is loaded again when settings are published and its file has changed, and stays when the changed one is broken', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'turnpike-strategy-'))
    const file = join(folder, 'changing.mjs')
    const { group, errors } = scene(() => null)
    const loads: string[] = []
    const load = (url: string) => {
      loads.push(url)
      return import(url)
    }
    const custom = createCustom({ clock: group.clock, log: { ...silentLog, error: (fields) => void errors.push(fields) }, load })
    const strategy = custom.strategy(first)
    const chosen = async (source: string) => {
      writeFileSync(file, source)
      await custom.use(file)
      return idOf(strategy.choose(group.routes, group.context()))
    }
    try {
      expect(await chosen('export default { choose: (candidates) => candidates[1] }')).toBe('d1')
      await Promise.all([custom.use(file), custom.use(file)])
      expect(loads).toHaveLength(1)
      expect(await chosen('export default { choose: (candidates) => candidates[1 + 1] }')).toBe('d2')
      expect(await chosen('export default { choose: (')).toBe('d2')
      expect(errors).toHaveLength(1)
      expect(await chosen('export default { choose: (candidates) => candidates.at(1) }')).toBe('d1')
      expect(errors).toHaveLength(1)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('that cannot be loaded is told of, and the fallback chooses', async () => {
    const { group, errors } = scene(() => null)
    const log = { ...silentLog, error: (fields: object) => void errors.push(fields) }
    const custom = createCustom({ clock: group.clock, log })
    await custom.use('/nowhere/strategy.mjs')
    expect(errors).toHaveLength(1)
    expect(idOf(custom.strategy(first).choose(group.routes, group.context()))).toBe('d0')
  })

  it('that throws or answers with something else is passed over for this call, and told of every ten seconds at most', async () => {
    let answer: (candidates: readonly { id: string }[]) => unknown = () => {
      throw new Error('broken')
    }
    const { group, errors, custom, pick } = scene((candidates) => answer(candidates))
    await custom.use('/a.mjs')
    expect([pick(), pick()]).toEqual(['d0', 'd0'])
    expect(errors).toHaveLength(1)
    group.clock.advance(10_000)
    answer = () => ({ id: 'd1' })
    expect(pick()).toBe('d0')
    expect(errors).toHaveLength(2)
    answer = (candidates) => candidates[1]
    expect(pick()).toBe('d1')
  })

  it('sees neither credentials nor anything it could change', async () => {
    const seen: object[] = []
    const { custom, pick } = scene((candidates) => {
      seen.push(...candidates)
      return candidates[0]
    })
    await custom.use('/a.mjs')
    pick()
    expect(Object.keys(seen[0] as object)).not.toContain('headers')
    expect(seen.every((candidate) => Object.isFrozen(candidate))).toBe(true)
  })
})
