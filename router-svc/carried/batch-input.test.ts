import { describe, expect, it } from 'vitest'
import type { Route } from '../runtime.ts'
import { batchFor, modelsInBatch } from './batch-input.ts'

const ROUTE = { model: 'gpt-cheap', deployment: { provider: 'openai' } } as unknown as Route
const line = (model: string): string => JSON.stringify({ custom_id: model, url: '/v1/chat/completions', body: { model } })
const file = (text: string) => ({ name: 'in.jsonl', type: 'application/jsonl', bytes: Buffer.from(text) })

describe('the input of a batch', () => {
  it('asks for what the deployment calls its model, in every line', async () => {
    const { bytes } = await batchFor(file(`${line('cheap')}\n\n${line('cheap')}\n`), ROUTE, new Map([['cheap', ROUTE]]), false)
    expect(await modelsInBatch(file(Buffer.from(bytes).toString()))).toEqual(['gpt-cheap'])
  })

  it.each(['\r', '\u2028', '\f'])('hides no request behind another end of a line: %j', async (end) => {
    const input = file(`${line('cheap')}${end}${line('dear')}\n`)
    for (const whole of [false, true])
      await expect(batchFor(input, ROUTE, new Map([['cheap', ROUTE]]), whole)).rejects.toMatchObject({ code: 'bad_request' })
  })
})
