import type { Bus } from '../../shared/bus/bus.ts'
import { announceKeys, batches } from '../identity/announce-keys.ts'
import { scopeName } from './scopes.ts'

/**
 * Tells every process that the numbers of these scopes changed otherwise than by spending, so that what they know of their owners is
 * read again: headers and messages show it within a second.
 */
export function announceScopes(bus: Bus, scopes: readonly string[]): void {
  const keyHashes = new Set<string>()
  const owners = new Map<string, Record<string, string>>()
  const customers = new Set<string>()
  const tags = new Set<string>()
  let everybody = false
  for (const scope of scopes) {
    const name = scopeName(scope)
    const id = name?.ids[0] ?? ''
    switch (name?.kind) {
      case 'key':
        keyHashes.add(id)
        break
      case 'user':
        owners.set(scope, { userId: id })
        break
      case 'team':
      case 'team_member':
        owners.set(`team|${id}`, { teamId: id })
        break
      case 'organization':
      case 'organization_member':
        owners.set(`organization|${id}`, { organizationId: id })
        break
      case 'project':
        owners.set(scope, { projectId: id })
        break
      case 'customer':
        customers.add(id)
        break
      case 'tag':
        tags.add(id)
        break
      case 'proxy':
        everybody = true
        break
      default:
        // Providers, deployments and runs: whoever shows them asks the counters.
        break
    }
  }
  if (everybody) bus.announce('identity', {})
  else {
    announceKeys(bus, keyHashes)
    for (const owner of owners.values()) bus.announce('identity', owner)
  }
  for (const batch of batches(customers)) bus.announce('budget', { customers: batch, tags: [] })
  for (const batch of batches(tags)) bus.announce('budget', { customers: [], tags: batch })
}
