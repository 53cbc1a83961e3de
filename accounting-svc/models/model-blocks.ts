import { GatewayError } from '../../shared/errors.ts'
import { actorOf } from '../identity/access.ts'
import { auditEntry } from '../identity/audit.ts'
import type { Writer } from '../identity/writer.ts'
import { audit } from '../sql/audit.ts'
import { blockDeployments, unblockDeployments } from '../sql/settings.ts'
import type { Configuration } from './configuration.ts'
import type { Runtime } from './runtime.ts'

/** A deployment by its id, or all of a model group. */
export interface BlockTarget {
  id?: string | undefined
  group?: string | undefined
}

/** Deployments that take no calls for a while: an operator's way of pausing one. */
export interface ModelBlocks {
  /**
   * Blocks or unblocks, and gives the deployments meant. Throws GatewayError `not_found` when there is none, `bad_request` for one that the
   * file blocks and that is to be unblocked.
   */
  set(target: BlockTarget, blocked: boolean, by: Writer): Promise<{ id: string; model_name: string; blocked: boolean }[]>
}

export function createModelBlocks(deps: { configuration: Configuration; runtime: Pick<Runtime, 'deployments'> }): ModelBlocks {
  const { configuration, runtime } = deps
  return {
    async set({ id, group }, blocked, by) {
      const meant = runtime.deployments.filter(
        (deployment) => deployment.hidden !== true && (id === undefined ? deployment.modelGroup === group : deployment.id === id),
      )
      if (meant.length === 0) {
        const text = id === undefined ? `There is no model group ${group ?? ''}.` : `There is no deployment with the id ${id}.`
        throw new GatewayError('not_found', text, { param: id === undefined ? 'model_name' : 'id' })
      }
      const fixed = blocked ? undefined : meant.find((deployment) => deployment.info['blocked'] === true)
      if (fixed !== undefined) {
        const text = `The deployment ${fixed.id} is blocked by the configuration file (model_info.blocked).`
        throw new GatewayError('bad_request', text, { type: 'bad_request_error', param: 'id' })
      }
      const ids = meant.map((deployment) => deployment.id)
      await configuration.write(async (tx) => {
        const changed = blocked ? await blockDeployments(tx, ids, actorOf(by.actor)) : await unblockDeployments(tx, ids)
        for (const one of changed) {
          const state = (value: boolean): object => ({ blocked: value })
          const action = blocked ? 'blocked' : 'unblocked'
          await audit(tx, auditEntry(by.actor, by.changedBy, action, 'models', one, state(!blocked), state(blocked)))
        }
      })
      return meant.map((deployment) => ({ id: deployment.id, model_name: deployment.modelGroup, blocked }))
    },
  }
}
