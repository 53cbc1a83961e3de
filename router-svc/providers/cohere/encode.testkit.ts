import { PLAIN_TARGET } from '../plain-target.ts'
import type { Target } from '../provider.ts'

/** Where a call of Cohere goes, unless a test says otherwise. */
export function target(changes: Partial<Target> = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: 'cohere',
    model: 'command-a-03-2025',
    base: 'https://api.cohere.com',
    ...changes,
  }
}
