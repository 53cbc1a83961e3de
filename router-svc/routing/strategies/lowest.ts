import type { Route } from '../../runtime.ts'
import { hasRoom, minuteOf, remember, slotOf } from './lists.ts'
import type { ChoiceContext, Strategy } from './strategy.ts'
import { OUT, Tournament } from './tournament.ts'

export interface LowestRules {
  /** The lower the better, of what the columns say of a slot; the same until a state changes or a minute begins. */
  score(slot: number, context: ChoiceContext): number
  /** Only those with room within their rpm and tpm. */
  withinLimits: boolean
  /** Share above the lowest score that is as good; absent = none. */
  buffer?(context: ChoiceContext): number
}

/**
 * Any of the candidates with the lowest score. A list that comes again is kept in order, and only states that changed since the last
 * choice are looked at; a list seen once (a retry's, a filter's) is gone through from end to end.
 */
export function createLowest(rules: LowestRules): Strategy {
  const rankingOf = remember<{ used: boolean; ranking: Ranking | null }>(() => ({ used: false, ranking: null }))
  return {
    choose(candidates, context) {
      const kept = rankingOf(candidates)
      if (!kept.used) {
        kept.used = true
        return lowestOf(candidates, context, rules)
      }
      kept.ranking ??= new Ranking(candidates, rules)
      const index = kept.ranking.pick(context)
      if (index < 0) return null
      const route = candidates[index] as Route
      // The ranking leaves out who has no room for any request; this one may be too long for its first.
      return !rules.withinLimits || hasRoom(route, context, context.inputTokens) ? route : lowestOf(candidates, context, rules)
    },
  }
}

function lowestOf(candidates: readonly Route[], context: ChoiceContext, rules: LowestRules): Route | null {
  const scores = candidates.map((route) =>
    rules.withinLimits && !hasRoom(route, context, context.inputTokens) ? OUT : rules.score(slotOf(route), context),
  )
  const lowest = scores.reduce((least, score) => Math.min(least, score), OUT)
  if (lowest === OUT) return null
  const limit = lowest * (1 + (rules.buffer?.(context) ?? 0))
  const good = candidates.filter((_, index) => (scores[index] as number) <= limit)
  return good[Math.floor(context.random() * good.length)] as Route
}

/** The candidates of one list by score. */
class Ranking {
  readonly #candidates: readonly Route[]
  readonly #rules: LowestRules
  readonly #tree: Tournament
  readonly #indexOf = new Map<number, number>()
  /** Changes of states that are in the scores. */
  #seen = Number.NEGATIVE_INFINITY
  #minute = 0

  constructor(candidates: readonly Route[], rules: LowestRules) {
    this.#candidates = candidates
    this.#rules = rules
    this.#tree = new Tournament(candidates.length)
    for (const [index, route] of candidates.entries()) this.#indexOf.set(slotOf(route), index)
  }

  /** Index of a candidate; -1 = none has room. */
  pick(context: ChoiceContext): number {
    this.#catchUp(context)
    const buffer = this.#rules.buffer?.(context) ?? 0
    const { random } = context
    return buffer > 0 ? this.#tree.pickWithin(this.#tree.lowest * (1 + buffer), random) : this.#tree.pick(random)
  }

  #catchUp(context: ChoiceContext): void {
    const { changes } = context.columns
    const minute = minuteOf(context.wallNow)
    const behind = changes.count - this.#seen
    if (minute !== this.#minute || behind > Math.min(changes.kept, Math.max(MANY, this.#tree.size)))
      this.#tree.fill((index) => this.#score(index, context))
    else {
      for (let change = this.#seen; change < changes.count; change += 1) {
        const index = this.#indexOf.get(changes.at(change))
        if (index !== undefined) this.#tree.set(index, this.#score(index, context))
      }
    }
    this.#seen = changes.count
    this.#minute = minute
  }

  #score(index: number, context: ChoiceContext): number {
    const route = this.#candidates[index] as Route
    return this.#rules.withinLimits && !hasRoom(route, context, 0) ? OUT : this.#rules.score(slotOf(route), context)
  }
}

/** Changes that are looked at one by one even where a list is shorter. */
const MANY = 64
