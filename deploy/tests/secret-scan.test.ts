import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLog } from '../../shared/log.ts'
import { outputDirectory, scanOutput, secretsIn } from '../tools/secret-scan.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'turnpike-scan-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const written = (text: string, secrets: string[] = []) => {
  writeFileSync(join(directory, '1.out'), text)
  writeFileSync(join(directory, '1.secrets'), secrets.join('\n'))
  return scanOutput(directory).found
}

describe('the search for secrets', () => {
  it('finds a planted one of every kind, says where, and does not repeat it', () => {
    const key = `sk-${randomBytes(18).toString('base64url')}aA1`
    for (const [text, secrets] of [
      [`fine\n{"msg":"refused ${key}"}\n`, []],
      ['{"url":"postgres://turnpike:hunter2@127.0.0.1/x"}', []],
      ['{"key":"sk-edge-test-key-0001"}', ['sk-edge-test-key-0001']],
      ['{"header":"az-credential-of-a-deployment"}', ['az-credential-of-a-deployment']],
    ] as const) {
      const found = written(text, [...secrets])
      expect(found).toHaveLength(1)
      expect(found[0]).toMatch(/^1\.out:[12]: /)
      for (const secret of [key, 'hunter2', ...secrets]) expect(found[0]).not.toContain(secret)
    }
  })

  it('lets the greeting of a first start show the key it made, and nothing else in its words', () => {
    const key = `sk-${randomBytes(18).toString('base64url')}aA1`
    const curl = `  curl -N http://127.0.0.1:4000/v1/chat/completions -H "Authorization: Bearer ${key}" -d '{}'`
    expect(written(`  master key     ${key}  (kept in /x/master-key)\n${curl}\n`)).toEqual([])
    expect(written(`{"msg":"  master key     ${key}  (kept in /x)"}\nmaster key ${key}\n${curl} ${key}`)).toHaveLength(2)
  })

  it('lets pass what only resembles one', () => {
    const text =
      'sk-...0001 sk-ant-names-of-tests postgres://127.0.0.1/x postgres://turnpike:***@127.0.0.1 task-management-for-all'
    expect(written(text, ['sk-edge-test-key-0001'])).toEqual([])
  })

  it('knows the credentials of a configuration by their fields', () => {
    const config = `model_list: [{litellm_params: {api_key: sk-upstream, api_base: x}}]\ngeneral_settings: {master_key: "sk-master"}\nx: {"api_key": "json-key", aws_secret_access_key: 'aws', api_key: os.environ/KEY}`
    expect(secretsIn(config)).toEqual(['sk-upstream', 'sk-master', 'json-key', 'aws'])
  })

  it('reads what this very run writes: the log of this process, and both outputs of children whatever their environment', async () => {
    const run = outputDirectory() as string
    const marks = ['log', 'out', 'err', 'fd'].map((where) => `scan-${where}-${randomBytes(6).toString('hex')}`)
    silentLog.info({ where: marks[0] }, 'a line')
    const code = `console.log('${marks[1]}'); console.error('${marks[2]}'); require('fs').writeSync(1, '${marks[3]}')`
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['-e', code], { env: { PATH: process.env['PATH'] } })
    expect([stdout, stderr]).toEqual([`${marks[1]}\n${marks[3]}`, `${marks[2]}\n`])
    const all = readdirSync(run).map((name) => readFileSync(join(run, name), 'utf8'))
    expect(marks.filter((mark) => !all.some((text) => text.includes(mark)))).toEqual([])
  })
})
