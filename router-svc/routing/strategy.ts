import type { Route } from '../runtime.ts'

/** How one route of several is picked. Pure: `random` yields numbers in [0, 1). `candidates` is never empty. */
export type Strategy = (candidates: readonly Route[], random: () => number) => Route
