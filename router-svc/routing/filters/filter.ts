import type { GatewayError } from '../../../shared/errors.ts'
import type { Call } from '../../call.ts'
import type { Resolution, Route, RouterRuntime } from '../../runtime.ts'

/**
 * One reason why a deployment does not come into question for a call. Pure; one file each, in the order of the list in index.ts
 * (surface reference §5.2). Nearly every call needs none: `applies` says so without looking at a deployment.
 */
export interface Filter {
  readonly name: string
  applies(call: Call, resolution: Resolution, runtime: RouterRuntime): boolean
  /** What is left of `routes`, never changed in place. May return `routes` itself. */
  keep(routes: readonly Route[], call: Call, runtime: RouterRuntime, now: number): readonly Route[]
  /** What the client is told when it leaves nothing; absent = 429 `no_deployment`. */
  refusal?(call: Call, resolution: Resolution): GatewayError
}
