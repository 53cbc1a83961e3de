import type { Filter } from './filter.ts'

/** What is checked before a deployment is chosen, in this order (surface reference §5.2). */
export const filters: readonly Filter[] = []
