import { describe, expect, it } from 'vitest'
import type { UsageEvent } from '../../proto/usage.ts'
import { testClock } from '../../shared/clock.ts'
import { noObserver } from '../observe.ts'
import { Reply } from '../reply.ts'
import type { CacheHit } from './cache.ts'
import { type CallFields, callOf, chatAnswer, turned } from './call.testkit.ts'
import { replayCached } from './replay.ts'

const LONG = 'A sentence of some length. '.repeat(40)

function make(
  answer: Record<string, unknown>,
  body: Record<string, unknown>,
  changes: Partial<CacheHit> = {},
  fields: CallFields = {},
) {
  const clock = testClock()
  const events: UsageEvent[] = []
  const settled: number[][] = []
  const { call, client } = callOf({ model: 'my-alias', ...body }, { ...fields, clock })
  call.cacheKey = 'key-1'
  const hit: CacheHit = {
    key: 'key-1',
    answer: { at: clock.now() - 5_500, mode: 'chat', response: answer, modelGroup: 'gpt', deploymentId: 'd1', cost: 77 },
    similarity: null,
    pace: 0,
    ...changes,
  }
  const reply = new Reply(call)
  const deps = {
    clock,
    observe: noObserver,
    routerId: 'r1',
    spool: {
      append: (event: UsageEvent, written?: () => void) => {
        expect(client.ended).toBe(false)
        events.push(event)
        written?.()
      },
    },
    admission: { settle: (_: unknown, cost: number, tokens: number) => void settled.push([cost, tokens]) },
  }
  return { clock, call, client, events, settled, reply, run: () => replayCached(deps, call, reply, hit) }
}

/** What a client makes of an OpenAI stream. */
function heard(text: string) {
  const events = text
    .split('\n\n')
    .filter(Boolean)
    .map((event) => event.replace('data: ', ''))
  const chunks = events.slice(0, -1).map((event) => JSON.parse(event))
  return {
    done: events[events.length - 1],
    chunks,
    said: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join(''),
    ids: new Set(chunks.map((chunk) => chunk.id)),
    models: new Set(chunks.map((chunk) => chunk.model)),
  }
}

describe('an answer from the cache', () => {
  it('is whole where a whole one was asked for, costs nothing and says so', async () => {
    const { client, events, settled, run } = make(chatAnswer('hello'), {})
    await run()
    expect(JSON.parse(client.text)).toEqual({ ...chatAnswer('hello'), model: 'my-alias' })
    expect(client.head).toMatchObject({
      status: 200,
      headers: {
        'content-type': 'application/json',
        'x-litellm-cache-key': 'key-1',
        'x-litellm-cache-hit': 'True',
        'x-litellm-response-cost': '0',
        age: '5',
      },
    })
    expect(client.head?.headers).not.toHaveProperty('x-litellm-semantic-similarity')
    expect(events).toHaveLength(1)
    expect(events[0]).toMatchObject({ cacheHit: true, cacheKey: 'key-1', outcome: 'success', status: 200, attempts: [] })
    expect(events[0]?.savedUsage).toMatchObject({ input: 9, output: 3 })
    expect(settled).toEqual([[0, 0]])
  })

  it('reports neither a key that is not told nor tokens nobody counted, nor as its own what a provider says the answer cost', async () => {
    const uncounted = make(chatAnswer('hello', { usage: undefined }), {}, { key: '' })
    await uncounted.run()
    expect(uncounted.events[0]).not.toHaveProperty('cacheKey')
    expect(uncounted.events[0]).not.toHaveProperty('savedUsage')
    const priced = make(
      chatAnswer('hello', { usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2, cost: 0.5 } }),
      {},
    )
    await priced.run()
    expect(priced.events[0]?.savedUsage).toMatchObject({ input: 1, output: 1 })
    expect(priced.events[0]?.savedUsage).not.toHaveProperty('reportedCost')
  })

  it('is a stream where a stream was asked for, with the same id and words', async () => {
    const { client, events, call, run } = make(
      chatAnswer(LONG),
      { stream: true, stream_options: { include_usage: true } },
      { similarity: 0.987654321 },
    )
    await run()
    const { done, said, ids, models, chunks } = heard(client.text)
    expect([done, said, [...ids], [...models]]).toEqual(['[DONE]', LONG, ['chatcmpl-1'], ['my-alias']])
    expect(chunks.length).toBeGreaterThan(30)
    expect(chunks[0].choices[0].delta.role).toBe('assistant')
    expect(chunks[chunks.length - 1]).toMatchObject({ choices: [], usage: { total_tokens: 12 } })
    expect(chunks.filter((chunk) => chunk.choices[0]?.finish_reason === 'stop')).toHaveLength(1)
    expect(client.head?.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'x-litellm-semantic-similarity': '0.987654',
    })
    expect(client.ended).toBe(true)
    expect(events[0]).toMatchObject({ stream: true, cacheHit: true, firstTokenAt: call.firstTokenAt })
    expect(call.firstTokenAt).not.toBeNull()
  })

  it('keeps the pace it is told, chunk by chunk', async () => {
    const { clock, client, run } = make(chatAnswer(LONG), { stream: true }, { pace: 20 })
    const replayed = run()
    const written = [client.writes]
    for (let turns = 0; turns < 5; turns++) {
      await turned()
      clock.advance(20)
      await turned()
      written.push(client.writes)
    }
    expect(written).toEqual([1, 2, 3, 4, 5, 6])
    while (!client.ended) {
      clock.advance(20)
      await turned()
    }
    await replayed
    expect(heard(client.text).said).toBe(LONG)
  })

  it('waits for a client that is behind', async () => {
    const { client, call, run } = make(chatAnswer(LONG.repeat(200)), { stream: true })
    client.keepsUp = false
    const replayed = run()
    await turned()
    expect(client.writes).toBe(1)
    expect(client.text.length).toBeLessThan(20_000)
    call.incoming.onWritable?.()
    await turned()
    expect(client.writes).toBe(2)
    client.keepsUp = true
    call.incoming.onWritable?.()
    await replayed
    expect(heard(client.text).said).toBe(LONG.repeat(200))
    expect(call.incoming.onWritable).toBeNull()
  })

  it.each(['behind', 'paced'])('stops when the client leaves (%s), and is booked as left', async (how) => {
    const { client, call, clock, events, settled, run } = make(
      chatAnswer(LONG.repeat(200)),
      { stream: true },
      { pace: how === 'paced' ? 20 : 0 },
    )
    client.keepsUp = how === 'paced'
    const replayed = run()
    await turned()
    call.cancelled = 'left'
    call.stop?.()
    await replayed
    expect(client.writes).toBe(1)
    expect(client.ended).toBe(false)
    expect(events[0]).toMatchObject({ outcome: 'cancelled', status: 499, cacheHit: true, attempts: [] })
    expect(settled).toEqual([[0, 0]])
    expect(clock.pending).toBe(0)
  })

  it('ends with an error event where it cannot be told to its end, never as if it were whole', async () => {
    const answer = chatAnswer('x')
    const broken = { ...answer, choices: [...(answer['choices'] as object[]), null] }
    const { client, events, run } = make(broken, { stream: true })
    await run()
    expect(client.text).not.toContain('[DONE]')
    expect(client.text).toContain('"error"')
    expect(client.ended).toBe(true)
    expect(events[0]).toMatchObject({ outcome: 'partial', status: 500, cacheHit: true })
  })

  it('is a text completion where that was asked for', async () => {
    const answer = {
      id: 'c',
      object: 'text_completion',
      created: 1,
      model: 'm',
      choices: [{ index: 0, text: LONG, logprobs: null, finish_reason: 'stop' }],
    }
    const { client, run } = make(answer, { prompt: 'x', stream: true }, {}, { endpoint: 'atext_completion' })
    await run()
    const events = client.text.split('\n\n').filter((event) => event.startsWith('data: {'))
    expect(events.map((event) => JSON.parse(event.slice(6)).choices[0].text).join('')).toBe(LONG)
    expect(client.text.endsWith('data: [DONE]\n\n')).toBe(true)
  })
})
