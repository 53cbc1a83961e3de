import { framing } from './framing.ts'
import { json } from './json.ts'
import type { Target } from './target.ts'

/** Everything that is fed hostile input. */
export const TARGETS: readonly Target[] = [json, framing]
