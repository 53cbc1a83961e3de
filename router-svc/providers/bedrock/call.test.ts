import { beforeAll, describe, expect, it } from 'vitest'
import type { Deployment } from '../../../proto/deployment.ts'
import { awsEvent, awsException } from '../../aws-event-stream.testkit.ts'
import { chat, deployment, JSON_TYPE, make, type Sent, settled } from '../../handle.testkit.ts'

const STREAM = { 'content-type': 'application/vnd.amazon.eventstream' }

function claude(fields: Partial<Deployment> = {}): Deployment {
  return deployment('one', {
    provider: 'bedrock',
    model: 'us.anthropic.claude-sonnet-4-5-20250929-v1:0',
    apiBase: null,
    apiKey: null,
    settings: { aws_access_key_id: 'AKIDEXAMPLE', aws_secret_access_key: 'secret', aws_region_name: 'eu-west-1' },
    ...fields,
  })
}

/** Waits for the signature, which is made after the call began. */
async function upstream(sent: readonly Sent[]): Promise<Sent> {
  for (let turn = 0; turn < 50 && sent.length === 0; turn += 1) await settled()
  const [first] = sent
  if (first === undefined) throw new Error('nothing was sent')
  return first
}

describe('a call to Bedrock', () => {
  // The signer is loaded when a deployment asks for it, from disk.
  beforeAll(() => import('../../../shared/http/aws-signature.ts'))

  it('is signed for the region of its deployment, and its frames reach an OpenAI client as chunks', async () => {
    const { sent, call } = make([claude()])
    const client = call({ ...chat, stream: true, stream_options: { include_usage: true } })
    const { request, sink } = await upstream(sent)
    expect(request.url).toBe(
      'https://bedrock-runtime.eu-west-1.amazonaws.com/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream',
    )
    expect(request.headers['authorization']).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-west-1\/bedrock\/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, Signature=[0-9a-f]{64}$/,
    )
    expect(JSON.parse(String(request.body))).toEqual({ messages: [{ role: 'user', content: [{ text: 'hi' }] }] })

    sink.head(200, STREAM)
    const stream = Buffer.concat([
      awsEvent('messageStart', { role: 'assistant' }),
      awsEvent('contentBlockDelta', { contentBlockIndex: 0, delta: { text: 'hel' } }),
      awsEvent('contentBlockDelta', { contentBlockIndex: 0, delta: { text: 'lo' } }),
      awsEvent('contentBlockStop', { contentBlockIndex: 0 }),
      awsEvent('messageStop', { stopReason: 'end_turn' }),
      awsEvent('metadata', { usage: { inputTokens: 10, outputTokens: 9, totalTokens: 19 }, metrics: { latencyMs: 5 } }),
    ])
    for (let at = 0; at < stream.length; at += 7) sink.data(stream.subarray(at, at + 7))
    sink.end()
    await client.done
    expect(client.error).toBeNull()
    expect(client.text).toContain('"content":"hel"')
    expect(client.text).toContain('"finish_reason":"stop"')
    expect(client.text.trimEnd().endsWith('data: [DONE]')).toBe(true)
    expect(client.text).toContain('"prompt_tokens":10,"completion_tokens":9')
  })

  it('carries an API key as a bearer token, and reads a whole answer', async () => {
    const { sent, call } = make([claude({ apiKey: 'bedrock-key', settings: { aws_region_name: 'us-east-1' } })])
    const client = call(chat)
    const { request, sink } = await upstream(sent)
    expect(request.headers['authorization']).toBe('Bearer bedrock-key')
    expect(request.url).toMatch(/\/converse$/)
    sink.head(200, JSON_TYPE)
    const output = { message: { role: 'assistant', content: [{ text: 'hello' }] } }
    sink.data(Buffer.from(JSON.stringify({ output, stopReason: 'end_turn', usage: { inputTokens: 1, outputTokens: 2 } })))
    sink.end()
    await client.done
    expect(JSON.parse(client.text)).toMatchObject({
      choices: [{ message: { content: 'hello' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 1, completion_tokens: 2 },
    })
  })

  it('fails when the stream ends without its metadata, and when a frame is an exception', async () => {
    for (const last of [
      awsEvent('messageStop', { stopReason: 'end_turn' }),
      awsException('modelStreamErrorException', { message: 'broken' }),
    ]) {
      const { sent, call } = make([claude()], { numRetries: 0 })
      const client = call({ ...chat, stream: true })
      const { sink } = await upstream(sent)
      sink.head(200, STREAM)
      sink.data(Buffer.concat([awsEvent('contentBlockDelta', { contentBlockIndex: 0, delta: { text: 'hel' } }), last]))
      sink.end()
      await client.done
      expect(client.text).not.toContain('"finish_reason":"stop"')
      expect(client.text + JSON.stringify(client.error)).toMatch(/provider_truncated|BedrockException|before it was complete/)
    }
  })

  it('is not made by a deployment that lacks a region or keys, and says what is missing', async () => {
    for (const [settings, words] of [
      [{ aws_region_name: 'eu-west-1' }, 'no AWS credentials'],
      [{ aws_access_key_id: 'a', aws_secret_access_key: 'b' }, 'no AWS region'],
      [{ aws_region_name: 'eu-west-1', aws_web_identity_token: 'x' }, 'aws_role_name is missing'],
    ] as const) {
      const { sent, call } = make([claude({ settings })], { numRetries: 0 })
      const client = call(chat)
      await client.done
      expect(sent).toEqual([])
      expect(client.text + JSON.stringify(client.error)).toContain(words)
    }
  })
})
