import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { providerOf } from '../providers/index.ts'
import { isHandled } from './handler.ts'
import { createHandlerLoader, readExport } from './load.ts'

const folder = mkdtempSync(join(tmpdir(), 'turnpike-load-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const completion = async () => ({ choices: [] })
const file = (path: string, name = 'default') => [{ provider: 'mine', path, export: name }]

describe('files of handlers', () => {
  it('are found beside the configuration, by their export', async () => {
    writeFileSync(join(folder, 'a.mjs'), '')
    const loaded: string[] = []
    const loader = createHandlerLoader({
      directory: folder,
      load: async (url) => {
        loaded.push(url)
        return { other: { completion } }
      },
    })
    const found = await loader.providers(file('./a.mjs', 'other'))
    expect(found.get('mine')).toMatchObject({
      name: 'mine',
      local: true,
      chat: { mode: 'chat' },
      completion: { mode: 'completion' },
    })
    expect(found.get('mine')?.embedding).toBeUndefined()
    expect(loaded[0]).toMatch(/^file:\/\/.*\/a\.mjs\?version=/)
  })

  it('are loaded again when they change, and only then', async () => {
    const path = join(folder, 'b.mjs')
    writeFileSync(path, '')
    let times = 0
    const loader = createHandlerLoader({
      directory: folder,
      load: async () => {
        times += 1
        return { default: { completion } }
      },
    })
    const first = (await loader.providers(file(path))).get('mine')
    expect((await loader.providers(file(path))).get('mine')).toBe(first)
    utimesSync(path, 1, 1)
    expect((await loader.providers(file(path))).get('mine')).not.toBe(first)
    expect(times).toBe(2)
  })

  it.each<[string, string, unknown, RegExp]>([
    [
      'c.mjs',
      'default',
      new Error('Unexpected token'),
      /mine: \S+c\.mjs \(default export\): it cannot be loaded: Unexpected token/,
    ],
    [
      'c.mjs',
      'absent',
      { default: {}, other: {} },
      /c\.mjs \(export absent\): there is no such export; there are default, other/,
    ],
    ['c.mjs', 'default', { default: { completion: 'no' } }, /c\.mjs \(default export\): "completion" is not a function/],
    ['gone.mjs', 'default', {}, /gone\.mjs \(default export\): there is no such file; relative paths begin in/],
  ])('that cannot be used are named: %s, %s', async (path, name, module, message) => {
    writeFileSync(join(folder, 'c.mjs'), '')
    const load = async (): Promise<unknown> => {
      if (module instanceof Error) throw module
      return module
    }
    await expect(createHandlerLoader({ directory: folder, load }).providers(file(path, name))).rejects.toThrow(message)
  })
})

describe('what a module exports', () => {
  it.each<[unknown, RegExp]>([
    [class {}, /a function or a class/],
    [null, /expected an object, got null/],
    [{}, /none of the functions completion/],
    [{ stream: () => [] }, /"stream" without "completion"/],
    [{ decodeError: () => 1 }, /no "auth"/],
    [{ decodeError: () => 1, auth: { type: 'bearer' }, base: 1 }, /"base" is neither/],
    [{ decodeError: () => 1, auth: { type: 'bearer' }, base: null }, /"keyNames"/],
  ])('is refused where it is no provider: %s', (exported, problem) => {
    expect(readExport('mine', exported)).toEqual({ problem: expect.stringMatching(problem) })
  })

  it('may be an instance of a class, whose functions stand on its prototype', () => {
    class Mine {
      completion = completion
    }
    class Inherited extends Mine {
      embedding(): { data: [] } {
        return { data: [] }
      }
    }
    const read = readExport('mine', new Inherited())
    expect(read).toMatchObject({ provider: { chat: { mode: 'chat' }, embedding: { mode: 'embedding' } } })
  })

  it('may be a provider, which is asked over the network under the name it is given', () => {
    const groq = providerOf('groq')
    const read = readExport('mine', groq)
    if ('problem' in read) throw new Error(read.problem)
    expect(read.provider.name).toBe('mine')
    expect(read.provider.chat).toBe(groq?.chat)
    expect(isHandled(read.provider)).toBe(false)
  })
})
