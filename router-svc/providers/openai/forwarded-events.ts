import type { TokenUsage } from '../../../proto/usage.ts'
import { GatewayError } from '../../../shared/errors.ts'
import { parseSseFrame, SseSplitter } from '../../../shared/http/sse.ts'
import { type Fields, fieldsIn, isFields } from '../json.ts'
import type { Forwarded, Headers } from '../provider.ts'
import type { ErrorReader } from './response.ts'

/** One event may hold a whole image. */
const EVENT_LIMIT = 64 * 1024 * 1024

export interface EventBilling {
  /** Types of the events that end it. */
  last: readonly string[]
  readError: ErrorReader
  /** What such an event says is billed; null = nothing. */
  billed(event: Fields): TokenUsage | null
  /** What is billed as long as none said anything; `ends`: how many of those came. */
  otherwise(ends: number): TokenUsage
}

/** Events that client and provider write alike. Only the last ones and errors are read: between them are megabytes of pictures and sound. */
export function forwardedEvents(headers: Headers, { last, readError, billed, otherwise }: EventBilling): Forwarded {
  const splitter = new SseSplitter(EVENT_LIMIT)
  let usage: TokenUsage | null = null
  let ends = 0
  let done = false

  const read = (frame: Uint8Array): void => {
    const event = parseSseFrame(frame)
    if (event === null) return
    const { data } = event
    if (data === '[DONE]') done = true
    if (!data.startsWith('{')) return
    const ending = last.some((type) => event.event === type || data.includes(`"${type}"`))
    if (!ending && event.event !== 'error' && !data.includes('"error"') && !data.includes('"usage"')) return
    const fields = fieldsIn(data)
    if (fields === null) return
    if (isFields(fields['error']) || fields['type'] === 'error') throw readError(200, {}, data)
    const told = billed(fields)
    if (told !== null) usage = usage === null ? told : sum(usage, told)
    if (!ending) return
    ends += 1
    done = true
  }

  return {
    contentType: headers['content-type'] ?? 'text/event-stream',
    see(bytes) {
      for (const frame of splitter.push(bytes)) read(frame)
    },
    end() {
      // The last blank line may be missing.
      read(splitter.rest())
      if (!done) throw new GatewayError('provider_truncated')
    },
    usage: () => usage ?? otherwise(ends),
  }
}

/** What came whole though a stream was asked for, as older models do: it goes out as it is and is read at its end. */
export function forwardedWhole(contentType: string, billing: (body: Uint8Array) => TokenUsage): Forwarded {
  const parts: Uint8Array[] = []
  let usage: TokenUsage | null = null
  return {
    contentType,
    see(bytes) {
      parts.push(new Uint8Array(bytes))
    },
    usage() {
      usage ??= billing(Buffer.concat(parts))
      return usage
    },
  }
}

/** Several images of one stream each tell their own. */
function sum(one: TokenUsage, other: TokenUsage): TokenUsage {
  const all = { ...one } as unknown as Record<string, unknown>
  for (const [name, value] of Object.entries(other)) {
    if (typeof value === 'number') all[name] = ((all[name] as number | undefined) ?? 0) + value
  }
  if (other.units !== undefined) {
    const units: Record<string, number> = { ...one.units }
    for (const [name, amount] of Object.entries(other.units)) units[name] = (units[name] ?? 0) + amount
    all['units'] = units
  }
  return all as unknown as TokenUsage
}
