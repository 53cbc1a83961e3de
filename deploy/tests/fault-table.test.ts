import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ERRORS } from '../../proto/errors.ts'
import { FAULTS, markdown } from './fault-table.ts'
import { ROOT } from './sources.ts'

describe('the table of faults', () => {
  it('stands in the README as it is tested', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
    const [, table] = /<!-- faults -->\n([\s\S]*?)\n<!-- \/faults -->/.exec(readme) ?? []
    // The formatter aligns its columns.
    expect(table?.trim().replace(/ +\|/g, ' |').replace(/-{3,}/g, '---')).toBe(markdown())
  })

  it('has a name for each row, and knows statuses and classes that the gateway has', () => {
    expect(new Set(FAULTS.map(({ name }) => name)).size).toBe(FAULTS.length)
    const known = new Set(Object.values(ERRORS).map(({ status, class: name }) => `${status} ${name}`))
    for (const { name, whole, stream } of FAULTS) {
      for (const { ending } of [whole, stream]) {
        if (ending.kind !== 'answer') expect(known, name).toContain(`${ending.status} ${ending.class}`)
      }
    }
  })
})
