import { describe, expect, it } from 'vitest'
import type { ChatResponse } from '../../canonical/chat.ts'
import { type Fields, isFields } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import { cuts, type Decoded, decodePieces } from '../provider.suite.ts'
import type { DecodeContext } from '../provider.ts'
import { ADAPTER } from './encode.testkit.ts'
import { fold } from './fold.testkit.ts'
import { allRecordings, haveRecordings, type Recording } from './recordings.testkit.ts'

const CONTEXT: DecodeContext = { id: 'made-up', created: 7, model: 'sent', request: {} }
const recordings = allRecordings()

/** What a recorded response object holds, read by other words than the decoder's. */
function told(response: Fields) {
  const output = response['output'] as Fields[]
  const content = output.flatMap((item) => (item['type'] === 'message' ? (item['content'] as Fields[]) : []))
  const summaries = output.flatMap((item) => {
    if (item['type'] !== 'reasoning') return []
    const summary = (item['summary'] ?? []) as Fields[]
    return summary.length > 0 ? summary : ((item['content'] ?? []) as Fields[])
  })
  const usage = response['usage'] as Fields
  const calls = output.filter(({ type }) => type === 'function_call' || type === 'custom_tool_call')
  const incomplete = isFields(response['incomplete_details']) ? response['incomplete_details']['reason'] : undefined
  return {
    id: response['id'],
    model: response['model'],
    text: content.map((part) => part['text'] ?? '').join(''),
    refusal: content.map((part) => part['refusal'] ?? '').join(''),
    reasoning: summaries.map((part) => part['text']).filter((part) => part !== ''),
    calls: calls.map((call) => [call['call_id'], call['name'], call['arguments'] ?? call['input']]),
    citations: content.flatMap((part) => (part['annotations'] ?? []) as Fields[]).map(({ url }) => url),
    finish: incomplete === 'max_output_tokens' ? 'length' : calls.length > 0 ? 'tool_calls' : 'stop',
    kept: output.map(({ type }) => type).some((type) => !['message', 'function_call', 'custom_tool_call'].includes(String(type))),
    encrypted: output.flatMap((item) => (item['encrypted_content'] == null ? [] : [item['encrypted_content']])),
    tokens: [
      usage['input_tokens'],
      usage['output_tokens'],
      (usage['input_tokens_details'] as Fields | undefined)?.['cached_tokens'],
      (usage['input_tokens_details'] as Fields | undefined)?.['cache_write_tokens'],
      (usage['output_tokens_details'] as Fields | undefined)?.['reasoning_tokens'],
    ],
  }
}

/** The same of a canonical answer. */
function answered(chat: ChatResponse): ReturnType<typeof told> {
  const [choice] = chat.choices
  const message = choice?.message
  const { usage } = chat
  const items = (message?.provider_specific_fields?.['output_items'] ?? []) as Fields[]
  return {
    id: chat.id,
    model: chat.model,
    text: message?.content ?? '',
    refusal: message?.refusal ?? '',
    reasoning: message?.reasoning_content === undefined ? [] : [message.reasoning_content],
    calls: (message?.tool_calls ?? []).map((call) => [
      call.id,
      call.function?.name ?? call.custom?.name,
      call.function?.arguments ?? call.custom?.input,
    ]),
    citations: (message?.annotations ?? []).map((one) => ((one as Fields)['url_citation'] as Fields | undefined)?.['url']),
    finish: String(choice?.finish_reason),
    kept: items.length > 0,
    encrypted: items.flatMap((item) => (item['encrypted_content'] == null ? [] : [item['encrypted_content']])),
    tokens: [
      usage?.prompt_tokens,
      usage?.completion_tokens,
      usage?.prompt_tokens_details?.cached_tokens,
      usage?.prompt_tokens_details?.cache_write_tokens,
      usage?.completion_tokens_details?.reasoning_tokens,
    ],
  }
}

/** Parts of reasoning are paragraphs of one text; messages may be kept for their phase alone. */
function comparable(facts: ReturnType<typeof told>) {
  const { kept: _kept, ...rest } = facts
  return { ...rest, reasoning: facts.reasoning.join('\n\n') }
}

function decodeStreamed(stream: string, pieces?: Uint8Array[]): Decoded<Parameters<typeof fold>[0][number]> {
  const decoder = ADAPTER.decodeStream?.(CONTEXT)
  if (decoder === undefined) throw new Error('no stream')
  return decodePieces(decoder, pieces ?? [Buffer.from(stream)])
}

/** The response object a stream ended with, its items as they were when done. */
function lastResponse(stream: string): Fields {
  const events = stream
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)) as Fields)
  const last = events.findLast(({ response }) => isFields(response))?.['response'] as Fields
  const done = events.filter(({ type }) => type === 'response.output_item.done').map(({ item }) => item)
  return (last['output'] as unknown[]).length > 0 ? last : { ...last, output: done }
}

const named = (wanted: (recording: Recording) => boolean) => recordings.filter(wanted).map((one) => [one.name, one] as const)
const whole = named(({ body, status }) => body !== null && status === 200)
const streams = named(({ stream, status }) => stream !== null && status === 200)
const failed = named(({ status }) => status >= 400)

describe.skipIf(!haveRecordings())('recorded answers of /responses', () => {
  it('are many, of several providers', () => {
    expect([whole.length > 70, streams.length > 25, failed.length > 2]).toEqual([true, true, true])
    expect(new Set(recordings.map(({ name }) => name.split('/')[0]))).toEqual(
      new Set(['anthropic', 'azure', 'bedrock', 'deepseek', 'openai', 'openai-responses', 'openrouter', 'translation', 'xai']),
    )
  })

  it.each(whole)('%s is a chat of the same words, calls and counts', (_name, { body }) => {
    const chat = ADAPTER.decodeResponse(Buffer.from(body ?? ''), {}, CONTEXT)
    const facts = told(JSON.parse(body ?? '') as Fields)
    expect(comparable(answered(chat))).toEqual(comparable(facts))
    if (facts.kept) expect(answered(chat).kept).toBe(true)
  })

  it.each(streams)('%s streams what its last event tells', (_name, { stream }) => {
    const decoded = decodeStreamed(stream ?? '')
    expect(decoded.error).toBeNull()
    expect(comparable(answered(fold(decoded.chunks)))).toEqual(comparable(told(lastResponse(stream ?? ''))))
  })

  it.each(streams)('%s reads the same however it is cut', (_name, { stream }) => {
    const bytes = Buffer.from(stream ?? '')
    const expected = decodeStreamed(stream ?? '')
    for (const pieces of cuts(bytes, bytes.length)) expect(decodeStreamed('', pieces)).toEqual(expected)
  })

  it.each(streams)('%s is no success when it is cut off', (_name, { stream }) => {
    const events = (stream ?? '').split('\n\n').filter((event) => event.trim() !== '' && !event.includes('[DONE]'))
    const decoded = decodeStreamed(`${events.slice(0, -1).join('\n\n')}\n\n`)
    expect(decoded.error?.code).toBe('provider_truncated')
  })

  it.each(failed)('%s is an error of the same status, or of the one its code speaks of', (_name, { status, body }) => {
    const error = decodeError('openai', status, {}, body ?? '')
    expect(error.status).toBe(body?.includes('"model_not_found"') ? 404 : status)
    expect(error.message).toContain('OpenAIException - ')
  })
})
