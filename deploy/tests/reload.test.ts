import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** A file that the gateway's own configuration includes: the part that changes. */
const folder = mkdtempSync(join(tmpdir(), 'turnpike-reloaded-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const mock = (name: string): string => `  - {model_name: ${name}, litellm_params: {model: mock/mock, mock_response: hello}}\n`

async function ask(gateway: Gateway, model: string): Promise<number> {
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.masterKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] }),
  })
  await response.arrayBuffer()
  return response.status
}

it.each(MODES)(
  '%s: an edited file, and what is set over it, is in force without a restart',
  async (mode) => {
    const part = join(folder, `${mode}.yaml`)
    writeFileSync(part, `model_list:\n${mock('first')}`)
    const gateway = await openGateway(mode, { config: `include: ${part}\n` })
    const models = async (): Promise<string[]> => {
      const { data } = (await gateway.admin('GET', '/v1/models')) as { data: { id: string }[] }
      return data.map(({ id }) => id)
    }
    const wait = { timeout: 10_000, interval: 100 }
    try {
      expect(await ask(gateway, 'first')).toBe(200)
      writeFileSync(part, `model_list:\n${mock('first')}${mock('second')}`)
      await expect.poll(models, wait).toEqual(['first', 'second'])
      await expect.poll(() => ask(gateway, 'second'), wait).toBe(200)

      writeFileSync(part, `model_list:\n${mock('third')}router_settings: {num_retries: lots}\n`)
      // Longer than the gateway takes to notice: nothing that can be seen from outside tells of a refusal.
      await new Promise((resolve) => setTimeout(resolve, 4_000))
      expect(await ask(gateway, 'third')).toBe(400)
      expect(await models()).toEqual(['first', 'second'])

      // As `systemctl reload` does: it reads the file, and does not end.
      const accounting = gateway.cluster?.members().find(({ role }) => role === 'accounting')
      if (accounting !== undefined) process.kill(accounting.pid, 'SIGHUP')

      const state = async () => {
        // Successes are those of the running minute, which may turn between a call and the question.
        await ask(gateway, 'first')
        return (await gateway.admin('GET', '/router/state?model=first')) as {
          routers: { answered: boolean }[]
          deployments: { successes: number }[]
        }
      }
      await expect.poll(async () => (await state()).deployments[0]?.successes, wait).toBeGreaterThan(0)
      const { routers, deployments } = await state()
      expect(routers.map(({ answered }) => answered)).toEqual(mode === 'cluster' ? [true, true] : [true])
      expect(deployments).toEqual([expect.objectContaining({ model_name: 'first', failures: 0, healthy: true })])

      await gateway.admin('POST', '/model/block', { model_name: 'second' })
      await expect.poll(() => ask(gateway, 'second'), wait).toBe(503)
      await gateway.admin('POST', '/model/unblock', { model_name: 'second' })
      await expect.poll(() => ask(gateway, 'second'), wait).toBe(200)

      await gateway.admin('POST', '/config/update', { router_settings: { model_group_alias: { nick: 'first' } } })
      await expect.poll(() => ask(gateway, 'nick'), wait).toBe(200)
    } finally {
      await gateway.stop()
    }
  },
  120_000,
)
