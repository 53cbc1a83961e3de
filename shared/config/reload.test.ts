import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type TestClock, testClock } from '../clock.ts'
import { type Log, silentLog } from '../log.ts'
import { type LoadedConfig, loadConfig } from './load.ts'
import { type ConfigWatch, watchConfig } from './reload.ts'

const models = (...names: string[]): string =>
  `model_list:\n${names.map((name) => `  - {model_name: ${name}, litellm_params: {model: mock/mock}}\n`).join('')}`

let folder: string
let file: string
let clock: TestClock
let lines: { level: string; fields: Record<string, unknown>; text: string }[]
let applied: string[][]
let refuse: boolean
let watch: ConfigWatch

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'turnpike-reload-'))
  file = join(folder, 'config.yaml')
  clock = testClock()
  lines = []
  applied = []
  refuse = false
})
afterEach(async () => {
  await watch.stop()
  expect(clock.pending).toBe(0)
  rmSync(folder, { recursive: true })
})

const at =
  (level: string) =>
  (fields: object, text: string): void =>
    void lines.push({ level, fields: { ...fields }, text })
const log: Log = { ...silentLog, warn: at('warn'), error: at('error'), info: at('info') }
const errors = (): string[] => lines.filter(({ level }) => level === 'error').map(({ text }) => text)
const namesOf = ({ config }: LoadedConfig): string[] => config.model_list.map(({ model_name }) => model_name)

function begin(content: string): void {
  writeFileSync(file, content)
  const load = (): LoadedConfig => loadConfig(file, {})
  watch = watchConfig({
    loaded: load(),
    load,
    clock,
    log,
    async apply(next) {
      if (refuse) throw new Error('the database is away')
      applied.push(namesOf(next))
    },
  })
}

/** So many looks at the file, and whatever they lead to. */
async function look(times: number): Promise<void> {
  for (let count = 0; count < times; count += 1) clock.advance(1_000)
  for (let count = 0; count < 5; count += 1) await Promise.resolve()
}

describe('watchConfig', () => {
  it('keeps what it has while the file cannot even be looked at, and takes it when it can', async () => {
    begin(models('a'))
    rmSync(file)
    symlinkSync(file, file)
    await look(3)
    expect(applied).toEqual([])
    expect(errors()).toEqual([expect.stringContaining('the old one stays')])
    rmSync(file)
    writeFileSync(file, models('b'))
    await look(2)
    expect(applied).toEqual([['b']])
  })

  it('applies a changed file once it is still, and only once', async () => {
    begin(models('a'))
    await look(3)
    expect(applied).toEqual([])
    writeFileSync(file, models('a', 'b'))
    await look(1)
    expect(applied).toEqual([])
    await look(1)
    expect(applied).toEqual([['a', 'b']])
    await look(5)
    expect(applied).toHaveLength(1)
  })

  it('does not read a file that is being written, nor an empty one', async () => {
    begin(models('a'))
    writeFileSync(file, '')
    await look(4)
    writeFileSync(file, models('b'))
    await look(1)
    writeFileSync(file, models('b', 'c'))
    await look(1)
    expect(applied).toEqual([])
    await look(1)
    expect(applied).toEqual([['b', 'c']])
  })

  it('refuses a file that is not valid, with every problem and its place, and keeps watching', async () => {
    begin(models('a'))
    writeFileSync(file, 'router_settings: {num_retries: x, timeout: y}\n')
    await look(3)
    expect(applied).toEqual([])
    expect(errors()).toEqual([
      expect.stringMatching(/refused, the old one stays: router_settings\.num_retries expected a whole number/),
      expect.stringMatching(/refused, the old one stays: router_settings\.timeout expected a number/),
    ])
    expect(lines.find(({ level }) => level === 'error')?.fields).toMatchObject({ file, line: 1 })
    writeFileSync(file, models('c'))
    await look(2)
    expect(applied).toEqual([['c']])
  })

  it('refuses a file that cannot be put in force', async () => {
    begin(models('a'))
    refuse = true
    writeFileSync(file, models('b'))
    await look(2)
    expect(errors()).toEqual(['the new configuration is refused, the old one stays'])
    refuse = false
    await watch.reload()
    expect(applied).toEqual([['b']])
  })

  it('survives a file that goes, and takes one that is put in its place', async () => {
    begin(models('a'))
    rmSync(file)
    await look(3)
    expect(errors()).toEqual([expect.stringContaining('does not exist')])
    writeFileSync(join(folder, 'next.yaml'), models('d'))
    renameSync(join(folder, 'next.yaml'), file)
    await look(2)
    expect(applied).toEqual([['d']])
  })

  it('watches files that are included, also those that came with a change', async () => {
    begin(models('a'))
    const other = join(folder, 'other.yaml')
    writeFileSync(other, models('b'))
    writeFileSync(file, `include: other.yaml\n${models('a')}`)
    await look(2)
    expect(applied).toEqual([['a', 'b']])
    writeFileSync(other, models('b', 'c'))
    await look(2)
    expect(applied.at(-1)).toEqual(['a', 'b', 'c'])
  })

  it('reads again when it is told to, and says what waits for a restart, without its value', async () => {
    begin(models('a'))
    writeFileSync(file, `${models('a')}general_settings: {master_key: sk-very-secret}\nturnpike_settings: {port: 4100}\n`)
    await watch.reload()
    expect(applied).toEqual([['a']])
    expect(lines).toContainEqual({
      level: 'warn',
      fields: { settings: ['general_settings.master_key', 'turnpike_settings.port'] },
      text: 'these settings take effect when the processes start again',
    })
    expect(JSON.stringify(lines)).not.toContain('sk-very-secret')
  })
})
