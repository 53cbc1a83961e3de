import type { SseEvent } from '../../shared/http/sse.ts'
import { type EventParser, eventParser } from '../framing.ts'
import type { Headers } from '../providers/provider.ts'
import type { Meter } from './carrier.ts'
import { openaiReader, type UsageReader } from './usage-readers.ts'

/** A document longer than this is delivered unread; bytes. Some hold several pictures. */
const DOCUMENT_LIMIT = 64 * 1024 * 1024

/** Cuts an answer into documents or events while its bytes go by, and has a reader find the usage in them. What cannot be read costs nothing. */
export function usageMeter(reader: UsageReader = openaiReader()): Meter {
  let events: EventParser | null = null
  let document: Uint8Array[] | null = null
  let length = 0

  const read = (found: readonly SseEvent[]): void => {
    for (const { data } of found) {
      if (!data.startsWith('{') || reader.wanted?.test(data) === false) continue
      reader.see(JSON.parse(data))
    }
  }
  const tried = (work: () => void): void => {
    try {
      work()
    } catch {
      events = null
      document = null
    }
  }

  return {
    head(headers: Headers) {
      const type = headers['content-type'] ?? ''
      reader.head?.(headers)
      // A body that the provider compressed unasked.
      if (headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity') return
      if (/event-?stream/.test(type)) events = eventParser(type.includes('amazon') ? 'aws' : 'sse')
      else if (type.includes('json')) document = []
    },
    see(bytes) {
      if (events !== null) return tried(() => read(events?.push(bytes) ?? []))
      if (document === null) return
      length += bytes.length
      if (length > DOCUMENT_LIMIT) document = null
      else document.push(Uint8Array.from(bytes))
    },
    usage() {
      tried(() => {
        if (events !== null) read(events.end())
        if (document !== null && length > 0) readDocument(reader, Buffer.concat(document).toString('utf8'))
      })
      return reader.usage()
    },
    get model() {
      return reader.model
    },
  }
}

/** One document; or one a line, as some stream. */
function readDocument(reader: UsageReader, text: string): void {
  try {
    reader.see(JSON.parse(text))
  } catch {
    for (const line of text.split('\n')) if (line.startsWith('{')) reader.see(JSON.parse(line))
  }
}
