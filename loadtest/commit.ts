import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './launch.ts'

/** Short name of the checked-out commit, without asking git: the folder may be an export. */
export function commit(): string {
  try {
    const head = readFileSync(join(ROOT, '.git/HEAD'), 'utf8').trim()
    const reference = head.startsWith('ref: ') ? head.slice(5) : null
    if (reference === null) return head.slice(0, 10)
    const loose = join(ROOT, '.git', reference)
    if (existsSync(loose)) return readFileSync(loose, 'utf8').slice(0, 10)
    const packed = readFileSync(join(ROOT, '.git/packed-refs'), 'utf8')
    return (
      packed
        .split('\n')
        .find((line) => line.endsWith(` ${reference}`))
        ?.slice(0, 10) ?? ''
    )
  } catch {
    return ''
  }
}
