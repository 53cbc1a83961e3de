import type { TokenUsage } from '../../proto/usage.ts'
import { isFields } from '../providers/json.ts'
import type { Adapter, DecodeContext, Forwarded, Headers } from '../providers/provider.ts'
import type { Route } from '../runtime.ts'
import type { Meter } from './carrier.ts'

/** Paths of OpenAI's API whose answers its adapters for pictures and sound can bill: not by tokens alone, and often by what was asked. */
const MEDIA: readonly (readonly [
  RegExp,
  'image' | 'image_edit' | 'image_variation' | 'speech' | 'transcription' | 'translation',
])[] = [
  [/\/images\/generations$/, 'image'],
  [/\/images\/edits$/, 'image_edit'],
  [/\/images\/variations$/, 'image_variation'],
  [/\/audio\/speech$/, 'speech'],
  [/\/audio\/transcriptions$/, 'transcription'],
  [/\/audio\/translations$/, 'translation'],
]
/** What is read whole, bytes. */
const DOCUMENT_LIMIT = 64 * 1024 * 1024

/** The meter of a path for pictures or sound; null for another path, or where the provider has no adapter for it. */
export function mediaMeter(route: Route, path: string, request: Readonly<Record<string, unknown>>): Meter | null {
  const mode = MEDIA.find(([ending]) => ending.test(path))?.[1]
  const adapter = (mode === undefined ? undefined : route.provider[mode]) as Adapter<unknown, unknown, never> | undefined
  if (adapter === undefined) return null
  const context: DecodeContext = { id: '', created: 0, model: route.model, request }
  let headers: Headers = {}
  let forwarded: Forwarded | null = null
  let parts: Uint8Array[] | null = []
  let length = 0
  return {
    head(named) {
      headers = named
      try {
        forwarded = adapter.forward?.(named, context) ?? null
      } catch {
        forwarded = null
      }
    },
    see(bytes) {
      try {
        if (forwarded !== null) return forwarded.see?.(bytes)
      } catch {
        forwarded = null
        parts = null
      }
      length += bytes.length
      if (length > DOCUMENT_LIMIT) parts = null
      parts?.push(Uint8Array.from(bytes))
    },
    usage() {
      try {
        if (forwarded !== null) return forwarded.usage()
        if (parts === null) return null
        const answer = adapter.decodeResponse(Buffer.concat(parts), headers, context)
        return isFields(answer) && isFields(answer['billing']) ? (answer['billing'] as unknown as TokenUsage) : null
      } catch {
        return null
      }
    },
  }
}
