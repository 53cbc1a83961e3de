import { answerText, CREATED, type Part, type Question, type StatedUsage, usageOf } from './answer-text.ts'
import { anthropicError, anthropicParts, message } from './anthropic-answers.ts'
import { completion, embeddings, openaiError, openaiParts } from './openai-answers.ts'
import type { Script } from './script.ts'

/**
 * The bytes a scripted provider answers with. Streams are lists of parts first (protocol), frames after (HTTP framing, pace, faults), so
 * a fault is written once for both protocols.
 */

/** A piece of the answer as the socket gets it. */
export interface Frame {
  bytes: Buffer
  /** Milliseconds to wait before it; null: none, may share a write with others. */
  wait: number | null
  /** Text chunks and characters in it, for the record. */
  chunks: number
  text: number
  /** Whether the usage is in it. */
  usage: boolean
  /** Where sixteen digits of time stamp go when it is written. */
  stamp?: number
  /** What happens to the connection after it. */
  action?: 'close' | 'reset' | 'stall'
}

export interface Answer {
  status: number
  head: Buffer
  frames: Iterable<Frame>
  usage: StatedUsage
}

/** Characters of text made at once for a large whole answer. */
const PIECE = 64 * 1024

export function answer(question: Question): Answer {
  const { script } = question
  const usage = usageOf(script)
  if (script.fail > 0) return failure(question, usage)
  if (script.body !== '')
    return whole(question, 200, [Buffer.from(script.body, 'base64').toString('latin1')], script.type, usage, 'latin1')
  if (script.faults.has('empty')) return whole(question, 200, [''], question.stream ? 'text/event-stream' : '', usage)
  if (script.faults.has('html'))
    return whole(question, 200, ['<!doctype html><title>502</title><h1>Bad Gateway</h1>'], 'text/html', usage)
  if (question.stream) {
    const head = headOf(
      question,
      200,
      'text/event-stream; charset=utf-8',
      'transfer-encoding: chunked\r\ncache-control: no-cache\r\n',
    )
    const parts = question.protocol === 'anthropic' ? anthropicParts(question, usage) : openaiParts(question, usage)
    return { status: 200, head, frames: cutFrames(streamFrames(parts, question), script), usage }
  }
  if (script.faults.has('error')) return whole(question, 200, [errorBody(question, 500)], '', usage)
  if (script.faults.has('malformed')) return whole(question, 200, ['{"id": nope'], '', usage)
  const shown = script.faults.has('no-usage') ? null : usage
  return whole(question, 200, bodyPieces(question, shown), '', usage)
}

function whole(
  question: Question,
  status: number,
  pieces: Iterable<string>,
  type: string,
  usage: StatedUsage,
  encoding: 'utf8' | 'latin1' = 'utf8',
): Answer {
  const { script } = question
  let length = 0
  for (const piece of pieces) length += encoding === 'latin1' ? piece.length : Buffer.byteLength(piece)
  const half = Math.floor(length / 2)
  const stop = script.faults.has('cut')
    ? 'close'
    : script.faults.has('rst')
      ? 'reset'
      : script.faults.has('stall')
        ? 'stall'
        : null
  const limit = stop !== null || script.faults.has('truncate') ? half : length
  const chunked = script.framing === 'chunked'
  const framing = chunked
    ? 'transfer-encoding: chunked\r\n'
    : `content-length: ${script.faults.has('truncate') ? half : length}\r\n`
  const head = headOf(question, status, type || 'application/json', framing)
  const text = script.chunks * script.size
  function* frames(): Generator<Frame> {
    let sent = 0
    for (const piece of pieces) {
      let bytes: Buffer = Buffer.from(piece, encoding)
      if (sent + bytes.length > limit) bytes = bytes.subarray(0, limit - sent)
      if (bytes.length === 0) continue
      sent += bytes.length
      yield plain(chunked ? chunk(bytes) : bytes)
    }
    const complete = sent === length
    const end = plain(chunked && stop === null ? LAST_CHUNK : EMPTY)
    if (complete) Object.assign(end, { chunks: script.chunks, text, usage: status === 200 && !script.faults.has('no-usage') })
    if (stop !== null) end.action = stop
    yield end
  }
  return { status, head, frames: cutFrames({ [Symbol.iterator]: frames }, script), usage }
}

function bodyPieces(question: Question, usage: StatedUsage | null): Iterable<string> {
  const { script, protocol } = question
  if (protocol === 'models')
    return [JSON.stringify({ object: 'list', data: [{ id: 'bench', object: 'model', created: CREATED, owned_by: 'upstream' }] })]
  if (protocol === 'count') return [JSON.stringify({ input_tokens: script.prompt })]
  if (protocol === 'embedding') return [embeddings(question, usage)]
  // The text goes where this mark is, so that 200 MB of it never exist at once.
  const mark = '\u0001'
  const shape = protocol === 'anthropic' ? message(question, mark, usage) : completion(question, mark, usage)
  const [before = '', after = ''] = JSON.stringify(shape).split(JSON.stringify(mark).slice(1, -1))
  const total = script.chunks * script.size
  function* pieces(): Generator<string> {
    if (total <= PIECE) {
      yield before + answerText(0, total, script.text) + after
      return
    }
    yield before
    for (let from = 0; from < total; from += PIECE) yield answerText(from, Math.min(PIECE, total - from), script.text)
    yield after
  }
  return { [Symbol.iterator]: pieces }
}

function* streamFrames(parts: Iterable<Part>, question: Question): Generator<Frame> {
  const { script } = question
  const { faults } = script
  const after = script.after >= 0 ? script.after : Math.floor(script.chunks / 2)
  let seen = 0
  let struck = false
  for (const part of parts) {
    if (part.kind === 'end' && faults.has('no-done')) continue
    if (part.kind === 'usage' && part.event === '' && faults.has('no-usage')) continue
    if (!struck && part.kind !== 'open' && seen >= after) {
      struck = true
      const fault = faultFrames(question)
      yield* fault.frames
      if (fault.last) return
    }
    const frame = eventFrame(part)
    if (part.kind === 'text') {
      const wait = seen === 0 ? script.first : script.interval
      frame.wait = wait > 0 ? wait : null
      if (script.text === 'stamp') frame.stamp = frame.bytes.indexOf('0'.repeat(script.size))
      seen += 1
      if (faults.has('dup')) yield { ...frame }
    }
    yield frame
  }
  yield plain(LAST_CHUNK)
}

/** What a fault puts into a stream, and whether the stream ends there. */
function faultFrames(question: Question): { frames: Frame[]; last: boolean } {
  const { faults } = question.script
  if (faults.has('cut')) return { frames: [{ ...plain(EMPTY), action: 'close' }], last: true }
  if (faults.has('rst')) return { frames: [{ ...plain(EMPTY), action: 'reset' }], last: true }
  if (faults.has('stall')) return { frames: [{ ...plain(EMPTY), action: 'stall' }], last: true }
  if (faults.has('truncate')) return { frames: [plain(LAST_CHUNK)], last: true }
  if (faults.has('malformed')) return { frames: [plain(chunk(Buffer.from('data: {"id": nope\n\n')))], last: false }
  if (faults.has('error')) {
    const event = question.protocol === 'anthropic' ? 'event: error\n' : ''
    return { frames: [plain(chunk(Buffer.from(`${event}data: ${errorBody(question, 500)}\n\n`))), plain(LAST_CHUNK)], last: true }
  }
  return { frames: [], last: false }
}

/** Cuts frames into writes of at most `script.write` bytes, each one alone on the socket. */
function cutFrames(frames: Iterable<Frame>, script: Script): Iterable<Frame> {
  if (script.write <= 0) return frames
  function* cut(): Generator<Frame> {
    for (const frame of frames) {
      const { bytes, action, ...counts } = frame
      let from = 0
      for (; from + script.write < bytes.length; from += script.write) {
        const wait = from === 0 && frame.wait !== null ? frame.wait : script.drip
        yield { ...plain(bytes.subarray(from, from + script.write)), wait }
      }
      const last: Frame = {
        ...counts,
        bytes: bytes.subarray(from),
        wait: from === 0 && frame.wait !== null ? frame.wait : script.drip,
      }
      yield action === undefined ? last : { ...last, action }
    }
  }
  return { [Symbol.iterator]: cut }
}

function failure(question: Question, usage: StatedUsage): Answer {
  const { script } = question
  const body = script.body === '' ? errorBody(question, script.fail) : Buffer.from(script.body, 'base64').toString('latin1')
  return whole(question, script.fail, [body], script.type, usage, script.body === '' ? 'utf8' : 'latin1')
}

function errorBody(question: Question, status: number): string {
  const anthropic = question.protocol === 'anthropic' || question.protocol === 'count'
  return anthropic ? anthropicError(question, status) : openaiError(question, status)
}

const EMPTY = Buffer.alloc(0)
const LAST_CHUNK = Buffer.from('0\r\n\r\n')

function plain(bytes: Buffer): Frame {
  return { bytes, wait: null, chunks: 0, text: 0, usage: false }
}

function eventFrame(part: Part): Frame {
  const text = part.event === '' ? `data: ${part.data}\n\n` : `event: ${part.event}\ndata: ${part.data}\n\n`
  const counts = { chunks: part.kind === 'text' ? 1 : 0, text: part.text, usage: part.kind === 'usage' }
  return { bytes: chunk(Buffer.from(text)), wait: null, ...counts }
}

/** HTTP/1.1 chunk framing (RFC 9112 §7.1). */
function chunk(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
}

function headOf(question: Question, status: number, type: string, framing: string): Buffer {
  const { script } = question
  const request = question.protocol === 'anthropic' ? 'request-id' : 'x-request-id'
  const retry = script.fail > 0 && script.retry !== '' ? `retry-after: ${script.retry}\r\n` : ''
  const retryMs = script.fail > 0 && script.retryms !== '' ? `retry-after-ms: ${script.retryms}\r\n` : ''
  const dated = script.fail > 0 && script.retrydate > 0 ? retryDate(script.retrydate) : ''
  const reason = status === 200 ? 'OK' : 'Scripted'
  const names = `${request}: req_${script.id ?? 'upstream'}\r\n${retry}${retryMs}${dated}`
  return Buffer.from(`HTTP/1.1 ${status} ${reason}\r\ncontent-type: ${type}\r\n${names}${framing}\r\n`)
}

/** The answer's own clock stands still: whoever holds the date against theirs is wrong by years. */
function retryDate(seconds: number): string {
  const at = (time: number): string => new Date(time * 1000).toUTCString()
  return `retry-after: ${at(CREATED + seconds)}\r\ndate: ${at(CREATED)}\r\n`
}
