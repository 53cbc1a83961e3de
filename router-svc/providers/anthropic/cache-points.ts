import { numeric } from '../../../shared/numeric.ts'
import type { CacheControl, Message } from '../../canonical/chat.ts'
import { type Fields, isFields } from './wire.ts'

/**
 * Marks messages for caching where the operator or the client says so (LiteLLM's `cache_control_injection_points`): a point names a
 * message by `index`, negative ones from the end, or by `role`, whose last message is meant, because the API allows four marks in all
 * and finds what lies before one by itself. Messages with marks of their own keep them.
 */
export function withCachePoints(messages: readonly Message[], points: unknown): readonly Message[] {
  if (!Array.isArray(points) || points.length === 0) return messages
  const marked = [...messages]
  for (const point of points) {
    if (!isFields(point) || (point['location'] ?? 'message') !== 'message') continue
    const at = placeOf(marked, point)
    const message = marked[at]
    if (message === undefined || isMarked(message)) continue
    const control = isFields(point['control']) ? (point['control'] as unknown as CacheControl) : ({ type: 'ephemeral' } as const)
    marked[at] = { ...message, cache_control: control }
  }
  return marked
}

function placeOf(messages: readonly Message[], point: Fields): number {
  const index = numeric(point['index'])
  if (Number.isInteger(index)) return index < 0 ? messages.length + index : index
  return messages.findLastIndex((message) => message.role === point['role'])
}

function isMarked(message: Message): boolean {
  if (message.cache_control !== undefined) return true
  return Array.isArray(message.content) && message.content.some((part) => part['cache_control'] !== undefined)
}
