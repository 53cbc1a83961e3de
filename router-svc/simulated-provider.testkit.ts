import { GatewayError } from '../shared/errors.ts'
import { JSON_TYPE, type Sent, STREAM } from './handle.testkit.ts'

/** How a simulated provider takes one call. */
export interface Play {
  kind: 'refused' | 'status' | 'html' | 'empty' | 'whole' | 'closes' | 'breaks' | 'stalls' | 'malformed' | 'error'
  status: number
  /** Seconds; null = it does not say. */
  retryAfter: number | null
  /** Milliseconds to the head, and between pieces. */
  wait: number
  pace: number
  words: number
  tool: 'none' | 'only' | 'after'
  usage: boolean
  /** Where a fault happens: the share of the answer that comes before it. */
  fault: number
  /** Frames that come in one piece; negative = pieces of so many bytes, wherever that cuts. */
  piece: number
  /** Where it is told to go on with an answer, it says the last word again. */
  repeats: boolean
}

/** What a provider writes, and what of it the model says: text, or arguments of a tool call. */
interface Frame {
  bytes: Buffer
  text: string
  input: string
}

interface Step {
  /** Milliseconds after the step before. */
  after: number
  frames: readonly Frame[]
  run(sent: Sent): void
}

/** One provider call being played. */
export interface Played {
  sent: Sent
  index: number
  /** Milliseconds, as the clock goes. */
  at: number
  play: Play
  body: Record<string, unknown>
  /** All that it would say, and what of it has left so far. */
  whole: { text: string; input: string }
  said: { text: string; input: string }
  /** The answer came whole, or the provider ended the call in some other way. */
  complete: boolean
  over: boolean
  steps: Step[]
  due: number
}

const ENDINGS = ['', ' ', '', '\n', '"', 'é', '😀', ' and so on ', '\\', ' {']

/** The n-th thing said on a call: nothing else is like it, so what is lost or said twice shows. */
function word(index: number, n: number): string {
  return `<spoken ${index}.${n}>${ENDINGS[(index * 7 + n * 3) % ENDINGS.length]}`
}

/** Which provider calls a text is from, in the order they first appear. */
export function speakers(text: string): number[] {
  return [...new Set([...text.matchAll(/<spoken (\d+)\./g)].map((found) => Number(found[1])))]
}

export function begin(sent: Sent, index: number, at: number, play: Play): Played {
  const body = JSON.parse(Buffer.from(sent.request.body ?? '').toString()) as Record<string, unknown>
  const speaks = sent.request.url.endsWith('/messages') ? 'anthropic' : 'openai'
  const frames = body['stream'] === true ? framesOf[speaks](index, play, echo(body, play)) : [wholeOf[speaks](index, play)]
  const played: Played = {
    sent,
    index,
    at,
    play,
    body,
    whole: { text: textOf(frames), input: inputOf(frames) },
    said: { text: '', input: '' },
    complete: false,
    over: false,
    steps: [],
    due: 0,
  }
  played.steps = stepsOf(played, frames, speaks)
  played.due = at + (played.steps[0]?.after ?? 0)
  return played
}

/** Plays what is due, unless nobody reads. */
export function advance(played: Played, now: number): void {
  const { sent } = played
  while (!played.over && !sent.aborted && !sent.paused && played.steps.length > 0 && played.due <= now) {
    const step = played.steps.shift() as Step
    // Before it is run: what is said in a piece with which a stream ends is said.
    played.said.text += textOf(step.frames)
    played.said.input += inputOf(step.frames)
    step.run(sent)
    played.due = now + (played.steps[0]?.after ?? 0)
  }
}

/** The beginning of an answer that this call is to go on with, or null. */
export function beginningOf(body: Record<string, unknown>): { text: string; told: boolean } | null {
  const messages = body['messages'] as { role: string; content: unknown }[]
  const at = messages.findLastIndex(({ role }) => role === 'assistant')
  const { content } = messages[at] ?? {}
  if (content === undefined) return null
  const text = typeof content === 'string' ? content : (content as { text?: string }[]).map((part) => part.text ?? '').join('')
  return { text, told: at < messages.length - 1 }
}

function echo(body: Record<string, unknown>, play: Play): string {
  const begun = beginningOf(body)
  if (begun === null || !begun.told || !play.repeats) return ''
  return begun.text.slice(begun.text.lastIndexOf('<spoken'))
}

function stepsOf(played: Played, frames: readonly Frame[], speaks: 'openai' | 'anthropic'): Step[] {
  const { play, body } = played
  const type = body['stream'] === true ? STREAM : JSON_TYPE
  const end: Step['run'] = ({ sink }) => {
    played.over = true
    sink.end()
  }
  const lose: Step['run'] = ({ sink }) => {
    played.over = true
    sink.failed(new GatewayError(play.kind === 'refused' ? 'provider_connection' : 'provider_truncated'))
  }
  const step = (run: Step['run'], after = play.pace, said: readonly Frame[] = []): Step => ({ after, run, frames: said })
  const head = (status: number, headers: Record<string, string>): Step =>
    step(({ sink }) => sink.head(status, headers), play.wait)
  const send = (text: string): Step => step(({ sink }) => sink.data(Buffer.from(text)))
  switch (play.kind) {
    case 'refused':
      return [step(lose, play.wait)]
    case 'status': {
      const headers: Record<string, string> = play.retryAfter === null ? {} : { 'retry-after': String(play.retryAfter) }
      return [head(play.status, { ...JSON_TYPE, ...headers }), send(JSON.stringify(errorOf[speaks])), step(end)]
    }
    case 'html':
      return [head(play.status < 500 ? 200 : play.status, { 'content-type': 'text/html' }), send('<html>away</html>'), step(end)]
    case 'empty':
      return [head(200, type), step(end)]
  }
  const total = frames.reduce((sum, { bytes }) => sum + bytes.length, 0)
  const bytes = play.kind === 'whole' ? total : Math.min(total - 1, Math.floor(total * play.fault))
  const pieces = piecesOf(frames, bytes, play)
  const fault = faultOf(play, speaks)
  // In one piece with what was said before it, or on its own.
  const lastPiece = pieces.at(-1)
  if (play.pace === 0 && lastPiece !== undefined) lastPiece.data = Buffer.concat([lastPiece.data, Buffer.from(fault)])
  else if (fault !== '') pieces.push({ data: Buffer.from(fault), said: [] })
  const steps = [head(200, type), ...pieces.map(({ data, said }) => step(({ sink }) => sink.data(data), play.pace, said))]
  switch (play.kind) {
    case 'whole': {
      const last = steps.at(-1) as Step
      const { run } = last
      last.run = (sent) => {
        played.complete = true
        run(sent)
      }
      return [...steps, step(end)]
    }
    case 'breaks':
      return [...steps, step(lose)]
    case 'stalls':
      return steps
    default:
      return [...steps, step(end)]
  }
}

/** What a stream goes wrong with. Words in what cannot be read are not said. */
function faultOf({ kind, usage }: Play, speaks: 'openai' | 'anthropic'): string {
  const name = (event: string): string => (speaks === 'openai' ? '' : `event: ${event}\n`)
  if (kind === 'error') return `${name('error')}data: ${JSON.stringify(errorOf[speaks])}\n\n`
  if (kind !== 'malformed') return ''
  const lost = '<spoken 999.0>'
  const beginning = {
    openai: `{"choices":[{"index":0,"delta":{"content":"${lost}"},"finish_reason":null}]`,
    anthropic: `{"index":0,"delta":{"type":"text_delta","text":"${lost}"}`,
  }
  return `${name('content_block_delta')}data: ${usage ? beginning[speaks] : '{"id":1'},"type": }\n\n`
}

/** The first `length` bytes of the frames as they arrive; with a fault in the middle of a frame, a part of it does where bytes are cut. */
function piecesOf(frames: readonly Frame[], length: number, { piece, kind }: Play): { data: Buffer; said: Frame[] }[] {
  const all = Buffer.concat(frames.map(({ bytes }) => bytes))
  const ends: number[] = []
  let at = 0
  for (const { bytes } of frames) {
    at += bytes.length
    ends.push(at)
  }
  // What cannot be read stands between frames, or it would only make one longer.
  const between = piece > 0 || kind === 'malformed' || kind === 'error'
  // Nor is a frame cut in its last line: without the blank one after it, some read it and some do not.
  const whole = ends.some((end) => length < end && length >= end - 2) ? length - 2 : length
  const limit = between && kind !== 'whole' ? (ends.findLast((end) => end <= length) ?? 0) : whole
  const cuts: number[] = []
  if (piece > 0) for (let n = piece - 1; n < ends.length; n += piece) cuts.push(ends[n] as number)
  else for (let n = 1; n * -piece < limit; n++) cuts.push(n * -piece)
  cuts.push(limit)
  const pieces: { data: Buffer; said: Frame[] }[] = []
  let from = 0
  for (const cut of cuts) {
    const to = Math.min(cut, limit)
    if (to <= from) continue
    const said = frames.filter((_, n) => (ends[n] as number) > from && (ends[n] as number) <= to)
    pieces.push({ data: all.subarray(from, to), said })
    from = to
  }
  return pieces
}

function textOf(frames: readonly Frame[]): string {
  return frames.map(({ text }) => text).join('')
}

function inputOf(frames: readonly Frame[]): string {
  return frames.map(({ input }) => input).join('')
}

const errorOf = {
  openai: { error: { message: 'The server had an error', type: 'server_error', param: null, code: null } },
  anthropic: { type: 'error', error: { type: 'api_error', message: 'Internal server error' } },
}

function frame(bytes: string, text = '', input = ''): Frame {
  return { bytes: Buffer.from(bytes), text, input }
}

/** Words of a call's text, and the pieces of its tool call's arguments. */
function contentOf(index: number, { words, tool }: Play): { texts: string[]; inputs: string[] } {
  const texts = tool === 'only' ? [] : Array.from({ length: Math.max(1, words) }, (_, n) => word(index, n))
  if (tool === 'none') return { texts, inputs: [] }
  const inputs = ['{"w":[""']
  for (let n = 0; n < Math.max(1, words); n++) inputs.push(`,"<spoken ${index}.${100 + n}>"`)
  return { texts, inputs: [...inputs, ']}'] }
}

/** What a call uses, as its provider reports it. */
export function usageOf(index: number): { input: number; output: number } {
  return { input: 100 + index, output: 10 + index }
}

const framesOf = {
  openai(index: number, play: Play, echoed: string): Frame[] {
    const { texts, inputs } = contentOf(index, play)
    const { input, output } = usageOf(index)
    const base = { id: `c${index}`, object: 'chat.completion.chunk', created: 1 + index, model: 'up' }
    const line = (fields: object): string => `data: ${JSON.stringify({ ...base, ...fields })}\n\n`
    const chunk = (delta: object, reason: string | null = null): string =>
      line({ choices: [{ index: 0, delta, finish_reason: reason }] })
    const called = (fields: object): string => chunk({ tool_calls: [{ index: 0, ...fields }] })
    const frames = [frame(chunk({ role: 'assistant', content: '' }))]
    if (echoed !== '') frames.push(frame(chunk({ content: echoed })))
    for (const text of texts) frames.push(frame(chunk({ content: text }), text))
    if (inputs.length > 0)
      frames.push(frame(called({ id: `t${index}`, type: 'function', function: { name: 'look', arguments: '' } })))
    for (const piece of inputs) frames.push(frame(called({ function: { arguments: piece } }), '', piece))
    frames.push(frame(chunk({}, inputs.length > 0 ? 'tool_calls' : 'stop')))
    const usage = { prompt_tokens: input, completion_tokens: output, total_tokens: input + output }
    if (play.usage) frames.push(frame(line({ choices: [], usage })))
    return [...frames, frame('data: [DONE]\n\n')]
  },

  anthropic(index: number, play: Play, echoed: string): Frame[] {
    const { texts, inputs } = contentOf(index, play)
    const { input, output } = usageOf(index)
    const said = (type: string, fields: object): string => `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`
    const message = { id: `m${index}`, type: 'message', role: 'assistant', model: 'up', content: [], stop_reason: null }
    const started = play.usage ? { usage: { input_tokens: input, output_tokens: 1 } } : {}
    const frames = [frame(said('message_start', { message: { ...message, ...started } })), frame(said('ping', {}))]
    const delta = (at: number, fields: object): string => said('content_block_delta', { index: at, delta: fields })
    let block = 0
    if (texts.length > 0) {
      frames.push(frame(said('content_block_start', { index: block, content_block: { type: 'text', text: '' } })))
      if (echoed !== '') frames.push(frame(delta(block, { type: 'text_delta', text: echoed })))
      for (const text of texts) frames.push(frame(delta(block, { type: 'text_delta', text }), text))
      frames.push(frame(said('content_block_stop', { index: block })))
      block += 1
    }
    if (inputs.length > 0) {
      const call = { type: 'tool_use', id: `t${index}`, name: 'look', input: {} }
      frames.push(frame(said('content_block_start', { index: block, content_block: call })))
      for (const piece of inputs) frames.push(frame(delta(block, { type: 'input_json_delta', partial_json: piece }), '', piece))
      frames.push(frame(said('content_block_stop', { index: block })))
    }
    const reason = inputs.length > 0 ? 'tool_use' : 'end_turn'
    const usage = play.usage ? { usage: { output_tokens: output } } : {}
    frames.push(frame(said('message_delta', { delta: { stop_reason: reason, stop_sequence: null }, ...usage })))
    return [...frames, frame(said('message_stop', {}))]
  },
}

const wholeOf = {
  openai(index: number, play: Play): Frame {
    const { texts, inputs } = contentOf(index, play)
    const { input, output } = usageOf(index)
    const calls = [{ id: `t${index}`, type: 'function', function: { name: 'look', arguments: inputs.join('') } }]
    const body = {
      id: `c${index}`,
      object: 'chat.completion',
      created: 1,
      model: 'up',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: texts.join('') || null, ...(inputs.length > 0 ? { tool_calls: calls } : {}) },
          finish_reason: inputs.length > 0 ? 'tool_calls' : 'stop',
        },
      ],
      ...(play.usage ? { usage: { prompt_tokens: input, completion_tokens: output, total_tokens: input + output } } : {}),
    }
    return frame(JSON.stringify(body), texts.join(''), inputs.join(''))
  },

  anthropic(index: number, play: Play): Frame {
    const { texts, inputs } = contentOf(index, play)
    const { input, output } = usageOf(index)
    const content: object[] = texts.length > 0 ? [{ type: 'text', text: texts.join('') }] : []
    if (inputs.length > 0) content.push({ type: 'tool_use', id: `t${index}`, name: 'look', input: JSON.parse(inputs.join('')) })
    const body = {
      id: `m${index}`,
      type: 'message',
      role: 'assistant',
      model: 'up',
      content,
      stop_reason: inputs.length > 0 ? 'tool_use' : 'end_turn',
      stop_sequence: null,
      ...(play.usage ? { usage: { input_tokens: input, output_tokens: output } } : {}),
    }
    return frame(JSON.stringify(body), texts.join(''), inputs.join(''))
  },
}
