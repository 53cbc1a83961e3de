import type { SseEvent } from '../../shared/http/sse.ts'
import { eventObject, type Fields } from './json.ts'
import type { StreamDecoder } from './provider.ts'

/**
 * A decoder whose chunks are changed on their way out, and its events, where `event` is given, on their way in. `chunks` is called once for each
 * event and once at the end. What the decoder knows of the end and of usage stays its own.
 */
export function wrappedStream<Inner, Outer = Inner>(
  inner: StreamDecoder<Inner>,
  chunks: (chunks: Inner[]) => Outer[],
  event: (event: SseEvent) => SseEvent = (event) => event,
): StreamDecoder<Outer> {
  return {
    get done() {
      return inner.done
    },
    get usage() {
      return inner.usage ?? null
    },
    push: (given) => chunks(inner.push(event(given))),
    end: () => chunks(inner.end()),
  }
}

/** A decoder of OpenAI's form for a stream whose events must be translated into it; what holds no object (`[DONE]`, no data) goes as it is. */
export function rewrittenStream<Chunk>(
  inner: StreamDecoder<Chunk>,
  translate: (fields: Fields, event: SseEvent) => unknown,
): StreamDecoder<Chunk> {
  return wrappedStream(
    inner,
    (chunks) => chunks,
    (event) => {
      if (event.data === '' || event.data === '[DONE]') return event
      return { event: event.event, data: JSON.stringify(translate(eventObject(event.data), event)) }
    },
  )
}
