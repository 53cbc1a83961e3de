import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Gateway, MODES, openGateway } from './gateway.ts'

interface Report {
  passed: boolean
  overspend: number
  lost: number
  duplicate: number
  cost_error: number
  [field: string]: unknown
}

describe.each(MODES)('the self-test, %s', (mode) => {
  let gateway: Gateway

  beforeAll(async () => {
    gateway = await openGateway(mode, {
      config: `
model_list:
  - {model_name: mock, litellm_params: {model: mock/echo}}
`,
    })
  }, 120_000)
  afterAll(() => gateway?.stop())

  it('finds nothing', async () => {
    const report = (await gateway.admin('POST', '/prove', { calls: 500 })) as Report
    expect(report).toMatchObject({ passed: true, overspend: 0, lost: 0, duplicate: 0, cost_error: 0 })
  }, 120_000)
})
