import { array, assert, constantFrom, double, nat, property, tuple } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OUT, Tournament } from './tournament.ts'

/** Few different scores, so that there are ties. */
const score = constantFrom(0, 1, 2, 3, OUT)
const draw = double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

describe('Tournament', () => {
  it('picks one of the lowest, whatever changed before', () => {
    const scores = array(score, { minLength: 1, maxLength: 70 })
    assert(
      property(scores, array(tuple(nat(69), score), { maxLength: 40 }), draw, (all, changes, random) => {
        const tree = new Tournament(all.length)
        tree.fill((index) => all[index] as number)
        for (const [index, value] of changes) {
          all[index % all.length] = value
          tree.set(index % all.length, value)
        }
        const lowest = Math.min(...all)
        const picked = tree.pick(() => random)
        expect(tree.lowest).toBe(lowest)
        if (lowest === OUT) expect(picked).toBe(-1)
        else expect(all[picked]).toBe(lowest)
      }),
    )
  })

  it('picks each of those that are equally low as often', () => {
    const all = [2, 1, 1, OUT, 1, 3, 1]
    const tree = new Tournament(all.length)
    tree.fill((index) => all[index] as number)
    const picked = [0, 0.26, 0.51, 0.76].map((random) => tree.pick(() => random))
    expect(picked).toEqual([1, 2, 4, 6])
  })

  it('picks within a limit only what is, and misses nobody', () => {
    const scores = array(score, { minLength: 1, maxLength: 70 })
    assert(
      property(scores, constantFrom(0, 1, 2, 3), draw, (all, limit, random) => {
        const tree = new Tournament(all.length)
        tree.fill((index) => all[index] as number)
        const picked = tree.pickWithin(limit, () => random)
        if (all.every((value) => value > limit)) expect(picked).toBe(-1)
        else expect(all[picked]).toBeLessThanOrEqual(limit)
      }),
    )
  })
})
