import { parseSseFrame, SseSplitter } from '../../shared/http/sse.ts'
import type { AnswerStream } from './answer-stream.ts'

/**
 * An answer that comes in pieces. Leaving the loop early, or `return()`, closes the connection to the provider; not reading on makes it wait. One that
 * is never read keeps its connection until its time limit.
 */
export interface EventStream<Piece> extends AsyncIterableIterator<Piece> {
  return(): Promise<IteratorResult<Piece>>
  [Symbol.asyncIterator](): EventStream<Piece>
  [Symbol.asyncDispose](): Promise<void>
}

/** The pieces of a stream of server-sent events, parsed. */
export function events<Piece>(stream: AnswerStream): EventStream<Piece> {
  return leavable(stream, parsed<Piece>(stream))
}

/** The bytes of an answer as they come. */
export function bytes(stream: AnswerStream): EventStream<Uint8Array> {
  return leavable(stream, parts(stream))
}

/** All of an answer. */
export async function collect(stream: AnswerStream): Promise<Uint8Array> {
  const first = await stream.read()
  const second = first === null ? null : await stream.read()
  if (first === null || second === null) return first ?? new Uint8Array(0)
  const all = [first, second]
  for (let part = await stream.read(); part !== null; part = await stream.read()) all.push(part)
  return Buffer.concat(all)
}

/** A generator that was not begun does not run its `finally`: leaving must not depend on it. */
function leavable<Piece>(stream: AnswerStream, pieces: AsyncGenerator<Piece, void>): EventStream<Piece> {
  const leave = (): Promise<IteratorResult<Piece, void>> => {
    stream.cancel('the reader left', null)
    return pieces.return()
  }
  return {
    next: () => pieces.next(),
    return: leave as EventStream<Piece>['return'],
    async [Symbol.asyncDispose]() {
      await leave()
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}

async function* parts(stream: AnswerStream): AsyncGenerator<Uint8Array, void> {
  for (let part = await stream.read(); part !== null; part = await stream.read()) yield part
}

/** OpenAI's end of a stream; other protocols have none beside their last event. */
const DONE = '[DONE]'

async function* parsed<Piece>(stream: AnswerStream): AsyncGenerator<Piece, void> {
  const splitter = new SseSplitter()
  for await (const part of parts(stream)) {
    for (const frame of splitter.push(part)) {
      const event = parseSseFrame(frame)
      if (event !== null && event.data !== '' && event.data !== DONE) yield JSON.parse(event.data) as Piece
    }
  }
}
