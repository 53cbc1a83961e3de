import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { readInputs } from './capacity-inputs.ts'
import { recordParts } from './capacity-measure.ts'
import { capacitySheet } from './capacity-sheet.ts'

/**
 * `npm run capacity`: writes `deploy/capacity.md` from the last recorded results. With `--nats nats://…` it measures that server's JetStream first
 * and records it (`--events 100000`); take one that is alone on its machine.
 */
const { values } = parseArgs({ options: { nats: { type: 'string' }, events: { type: 'string', default: '100000' } } })
if (values.nats !== undefined) await recordParts(values.nats, Number(values.events))
writeFileSync(join(import.meta.dirname, '../deploy/capacity.md'), capacitySheet(readInputs()))
