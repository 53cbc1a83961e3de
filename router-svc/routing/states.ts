import type { DeploymentState } from './deployment-state.ts'

/** One state per deployment id, whatever runtime is in force. */
export interface States {
  of(deploymentId: string): DeploymentState
}

/** Placeholder of the least there must be until attempts are counted. */
export function createStates(): States {
  const kept = new Map<string, DeploymentState>()
  return {
    of(id) {
      let state = kept.get(id)
      if (state === undefined) {
        state = {
          id,
          inFlight: 0,
          cooldownUntil: 0,
          share: () => 1,
          unhealthy: () => false,
          latency: () => 0,
          firstToken: () => 0,
          throughput: () => 0,
          requests: () => 0,
          tokens: () => 0,
        }
        kept.set(id, state)
      }
      return state
    },
  }
}
