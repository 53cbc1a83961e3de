import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

// In a copy beside a program of one module, so that what the checkout keeps is not touched.
let root = ''
const stripped = () => join(root, '.turnpike/stripped')

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'turnpike-strip-'))
  mkdirSync(join(root, 'deploy'))
  cpSync(join(import.meta.dirname, 'strip-cache.mjs'), join(root, 'deploy/strip-cache.mjs'))
  writeFileSync(join(root, 'package.json'), '{"type":"module"}')
  program('one')
})
afterEach(() => rmSync(root, { recursive: true }))

/** A program that says `text`. */
function program(text: string): void {
  writeFileSync(join(root, 'said.ts'), `export const said: string = '${text}'\n`)
  writeFileSync(join(root, 'main.ts'), `import { said } from './said.ts'\nconst line: number = 2\nconsole.log(said, line)\n`)
}

function run(): string {
  const args = ['--import', './deploy/strip-cache.mjs', 'main.ts']
  return execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trim()
}

describe('the kept JavaScript', () => {
  it('is written by the first run and taken by the next', () => {
    expect(run()).toBe('one 2')
    expect(readdirSync(stripped())).toHaveLength(1)
    expect(run()).toBe('one 2')
    expect(readdirSync(stripped())).toHaveLength(1)
  })

  it('gives way to a changed source', () => {
    run()
    program('other')
    expect(run()).toBe('other 2')
    expect(run()).toBe('other 2')
  })

  it('is made again when its file is damaged', () => {
    run()
    for (const name of readdirSync(stripped())) writeFileSync(join(stripped(), name), 'no map')
    expect(run()).toBe('one 2')
  })

  it('is done without where it cannot be written', () => {
    writeFileSync(join(root, '.turnpike'), 'a file where a folder should be')
    expect(run()).toBe('one 2')
    expect(existsSync(stripped())).toBe(false)
  })

  it('says no word about an experiment, and where an error was thrown', () => {
    writeFileSync(join(root, 'said.ts'), `type A = string\nexport const said: A = (() => { throw new Error('here') })()\n`)
    for (let time = 0; time < 2; time++) {
      let text = ''
      try {
        run()
      } catch (error) {
        text = String((error as { stderr: string }).stderr)
      }
      expect(text).toContain('said.ts:2:')
      expect(text).not.toContain('Experimental')
    }
  })
})
