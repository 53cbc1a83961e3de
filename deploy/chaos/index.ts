import type { Fault } from './fault.ts'
import { processFaults } from './process-faults.ts'

/** Everything that goes wrong, in the order of the table. */
export const FAULTS: readonly Fault[] = [...processFaults]
