import { clockFaults } from './clock-faults.ts'
import { diskFaults } from './disk-faults.ts'
import type { Fault } from './fault.ts'
import { processFaults } from './process-faults.ts'
import { rollingFault } from './rolling-fault.ts'
import { connectionFaults, serverFaults } from './server-faults.ts'
import { storeFaults } from './store-faults.ts'

/** Everything that goes wrong, in the order of the table. */
export const FAULTS: readonly Fault[] = [
  ...processFaults,
  ...serverFaults,
  ...connectionFaults,
  rollingFault,
  ...diskFaults,
  ...clockFaults,
  ...storeFaults,
]
