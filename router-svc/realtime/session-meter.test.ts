import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { haveRecordings } from '../providers/openai/recordings.suite.ts'
import { type Seen, SessionMeter } from './session-meter.ts'

const FOLDER = new URL('../../../shared/fixtures/', import.meta.url)

function seen(meter: SessionMeter, ...events: unknown[]): (Seen | null)[] {
  return events.map((event) => meter.see(Buffer.from(typeof event === 'string' ? event : JSON.stringify(event))))
}

describe('the meter of a session', () => {
  it('reads text, sound and cached tokens of an answer', () => {
    const usage = {
      total_tokens: 253,
      input_tokens: 132,
      output_tokens: 121,
      input_token_details: {
        text_tokens: 119,
        audio_tokens: 13,
        cached_tokens: 64,
        cached_tokens_details: { text_tokens: 54, audio_tokens: 10 },
      },
      output_token_details: { text_tokens: 30, audio_tokens: 91 },
    }
    const [done] = seen(new SessionMeter(), { type: 'response.done', response: { status: 'completed', usage } })
    expect(done).toMatchObject({
      kind: 'response',
      status: 'completed',
      usage: { input: 132, output: 121, cacheRead: 64, audioInput: 13, audioOutput: 91, audioCacheRead: 10, estimated: false },
    })
  })

  it('knows an event wherever its type stands, and takes no text for one', () => {
    const done = '{"event_id":"e","response":{"usage":{"input_tokens":1,"output_tokens":2}},"type":"response.done"}'
    const text = JSON.stringify({ type: 'response.output_text.done', text: '{"type":"response.done"}' })
    const late = JSON.stringify({ text: '"response.done"', type: 'response.output_text.done' })
    expect(seen(new SessionMeter(), done, text, late, 'no JSON "response.done"', '[]', '')).toMatchObject([
      { kind: 'response', usage: { input: 1, output: 2 } },
      null,
      null,
      null,
      null,
      null,
    ])
  })

  it('names the model of the session, and the one that hears', () => {
    const meter = new SessionMeter()
    const heard = { type: 'conversation.item.input_audio_transcription.completed', usage: { type: 'duration', seconds: 3 } }
    const session = { model: 'gpt-realtime', audio: { input: { transcription: { model: 'whisper-1' } } } }
    expect(seen(meter, { type: 'session.updated', session }, heard)[1]).toMatchObject({
      kind: 'transcription',
      model: 'whisper-1',
      usage: { units: { audio_ms_in: 3_000 } },
    })
    expect(meter.model).toBe('gpt-realtime')
  })

  it('estimates an answer that never ended: what it read before, and what came', () => {
    const meter = new SessionMeter()
    seen(
      meter,
      { type: 'response.done', response: { usage: { input_tokens: 100, output_tokens: 20 } } },
      { type: 'response.created', response: {} },
      { type: 'response.output_audio.delta', delta: 'A'.repeat(32_000) },
      { type: 'response.output_audio_transcript.delta', delta: 'A'.repeat(32_000) },
    )
    const { input, output, audioOutput, estimated } = meter.estimate()
    expect([input, audioOutput, output, estimated]).toEqual([120, 10, 10, true])
  })
})

describe.skipIf(!haveRecordings())('recorded sessions', () => {
  const files = haveRecordings()
    ? ['openai', 'azure', 'xai'].flatMap((provider) =>
        readdirSync(new URL(`${provider}/`, FOLDER))
          .filter((file) => file.startsWith('realtime__'))
          .map((file) => `${provider}/${file}`),
      )
    : []

  it('are of three providers', () => {
    expect(files.length).toBeGreaterThanOrEqual(4)
  })

  it.each(files)('are billed as the provider counted: %s', (file) => {
    const { interactions } = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as {
      interactions: {
        direction?: string
        data: { type?: string; response?: { usage?: { input_tokens: number; output_tokens: number } } }
      }[]
    }
    const received = interactions.filter(({ direction, data }) => direction === 'received' && data?.type !== undefined)
    const meter = new SessionMeter()
    const answers = seen(meter, ...received.map(({ data }) => data)).filter((one) => one?.kind === 'response')
    const told = received.filter(({ data }) => data.type === 'response.done').map(({ data }) => data.response?.usage)
    expect(answers.map((one) => (one?.kind === 'response' ? [one.usage?.input, one.usage?.output] : null))).toEqual(
      told.map((usage) => [usage?.input_tokens, usage?.output_tokens]),
    )
  })
})
