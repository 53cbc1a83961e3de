import { bus } from './bus.ts'
import { config } from './config.ts'
import { framing } from './framing.ts'
import { http } from './http.ts'
import { json } from './json.ts'
import { management } from './management.ts'
import type { Target } from './target.ts'

/** Everything that is fed hostile input. */
export const TARGETS: readonly Target[] = [http, json, framing, config, management, bus]
