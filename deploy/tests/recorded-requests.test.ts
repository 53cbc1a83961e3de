import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import type { Fields } from '../../router-svc/providers/json.ts'
import type { Adapter, Target } from '../../router-svc/providers/provider.ts'
import { GatewayError } from '../../shared/errors.ts'
import { answersOf, filesOf, folders, haveRecordings } from './recorded-answers.testkit.ts'
import { readingOf } from './recorded-routes.testkit.ts'
import { providerFor } from './recorded-sweep.testkit.ts'

/**
 * Requests that were recorded in the provider's own protocol, where that is not OpenAI's, are compared by these tests: a client's request is made
 * of each, and the adapter must make the recorded one of it. Of translations (`translation-pair/1`) no provider's request was kept.
 */
const COMPARED: Readonly<Record<string, string>> = {
  anthropic: 'anthropic/recorded-requests.test.ts',
  gemini: 'gemini/recorded-requests.test.ts',
  converse: 'bedrock/request.test.ts',
  responses: 'responses/request.test.ts',
  cohere: 'cohere/fixtures.test.ts',
  ollama: 'ollama/fixtures.test.ts',
  text: 'watsonx/watsonx.test.ts',
}

/** Members that are sent otherwise than they were recorded, and why; of all providers or of one. */
const OTHERWISE: readonly (readonly [string | null, string, string])[] = [
  [null, 'stream_options', 'usage is asked for, or cannot be'],
  [null, 'extra_body', 'what is in it is sent, as clients of OpenAI mean it'],
  ['watsonx', 'model', 'it says model_id'],
  ['watsonx', 'model_id', 'it says model_id'],
  ['watsonx', 'project_id', 'of the deployment'],
  ['watsonx', 'stream', 'the address says so'],
  ['hosted_vllm', 'guided_choice', 'what was in extra_body'],
  ['huggingface', 'model', 'the address names it'],
  ['together_ai', 'response_format', 'plain text is what it answers anyway'],
  ['deepseek', 'messages', 'lists of nothing but text are one text to it'],
  ['azure_ai', 'messages', 'lists of nothing but text are one text to it'],
]

it.skipIf(!haveRecordings())('a recorded request in OpenAI’s protocol is sent to its provider as it was', () => {
  const wrong: string[] = []
  let same = 0
  for (const folder of folders())
    for (const file of filesOf(folder))
      for (const one of answersOf(folder, file)) {
        const reading = readingOf(one)
        if (reading === null || one.request === null || one.url === '' || one.status >= 400) continue
        if (reading.family !== undefined && reading.family !== 'openai') {
          expect(COMPARED, `${folder}/${file}`).toHaveProperty(reading.family)
          continue
        }
        if (reading.family !== 'openai') continue
        const provider = providerFor(reading)
        const adapter = provider[reading.mode as 'chat'] as unknown as Adapter<Fields, unknown, unknown>
        const target = {
          provider: reading.provider,
          model: reading.model,
          base: provider.base ?? 'https://host.test/v1',
          apiVersion: '2025-04-01-preview',
          dropParams: true,
          additionalDropParams: [],
          allowedOpenaiParams: [],
          maxOutputTokens: null,
          settings: { project_id: 'swept' },
          clientHeaders: {},
        } satisfies Target
        let sent: Fields
        try {
          sent = JSON.parse(String(adapter.encodeRequest({ ...one.request }, target).body)) as Fields
        } catch (error) {
          wrong.push(`${reading.provider} ${error instanceof GatewayError ? error.message : String(error)} (${folder}/${file})`)
          continue
        }
        same += 1
        for (const name of new Set([...Object.keys(sent), ...Object.keys(one.request)])) {
          if (JSON.stringify(sent[name]) === JSON.stringify(one.request[name])) continue
          if (OTHERWISE.some(([of, member]) => (of === null || of === reading.provider) && member === name)) continue
          wrong.push(
            `${reading.provider} ${name}: ${JSON.stringify(one.request[name])?.slice(0, 90)} is ${JSON.stringify(sent[name])?.slice(0, 90)} (${folder}/${file})`,
          )
        }
      }
  expect(wrong).toEqual([])
  expect(same).toBeGreaterThan(200)
})

it('the tests that compare requests in other protocols exist', () => {
  for (const path of Object.values(COMPARED)) {
    const file = new URL(`../../router-svc/providers/${path}`, import.meta.url)
    expect(existsSync(file), path).toBe(true)
    expect(readFileSync(file, 'utf8'), path).toMatch(/recordings/)
  }
})
