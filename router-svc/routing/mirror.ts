import type { EndpointName } from '../../proto/endpoints.ts'
import type { Identity } from '../../proto/identity.ts'
import type { Log } from '../../shared/log.ts'
import type { Call } from '../call.ts'
import { type InternalCalls, isInternal } from '../internal-call.ts'
import type { Route } from '../runtime.ts'

/** Copies of calls for a group that is being tried out (`silent_model`, surface reference §5.8). */
export interface Mirror {
  /**
   * Sends a copy of `call`, which goes to `route`, to the group the deployment names, once per call and in the background. The client
   * hears nothing of it, and it waits for nothing.
   */
  mirror(call: Call, route: Route): void
  readonly running: number
  /** Copies that were not made because too many were running. */
  readonly dropped: number
}

export interface MirrorDeps {
  calls: InternalCalls
  log: Log
}

/** Copies at once, and bytes of their bodies: a slow experiment must not become this router's memory. */
const RUNNING_MAX = 100
const BYTES_MAX = 64 * 1024 * 1024

/** Marks of a copy, in the metadata and the tags of its booking. */
const MARK = { is_silent_experiment: true }
export const COPY_TAG = 'silent-experiment'

/** What the original asks of the gateway and the copy must not: other groups, tests of the client, the cache. */
const DROPPED = [
  'fallbacks',
  'context_window_fallbacks',
  'content_policy_fallbacks',
  'mock_testing_fallbacks',
  'mock_testing_context_fallbacks',
  'mock_testing_content_policy_fallbacks',
  'mock_testing_rate_limit_error',
  'provider',
  'models',
  'route',
  'priority',
]

export function createMirror({ calls, log }: MirrorDeps): Mirror {
  let running = 0
  let bytes = 0
  let dropped = 0
  return {
    mirror(call, route) {
      const group = route.deployment.mirror
      // Of a call that is tried again one copy is enough, and a copy makes no copies.
      if (group === undefined || call.attempts.length > 0 || isInternal(call)) return
      const size = call.raw.length
      if (running >= RUNNING_MAX || bytes + size > BYTES_MAX) {
        dropped += 1
        return
      }
      running += 1
      bytes += size
      calls
        .run({
          identity: ownerOf(call),
          endpoint: call.endpoint.name as EndpointName,
          body: bodyOf(call, group),
          headers: headersOf(call),
          deadline: call.incoming.deadline,
          metadata: MARK,
          // It is booked on the caller, but the operator's experiment must not have the caller's own calls refused.
          unlimited: true,
          discard: true,
        })
        .then(
          ({ status }) => log.debug({ group, status, of: call.message.callId }, 'a mirrored call ended'),
          (err: unknown) => log.debug({ err, group, of: call.message.callId }, 'a mirrored call failed'),
        )
        .finally(() => {
          running -= 1
          bytes -= size
        })
    },
    get running() {
      return running
    },
    get dropped() {
      return dropped
    },
  }
}

/** The caller, who need not know the group, and none of whose aliases or settings shall lead the copy elsewhere. */
function ownerOf({ identity, options }: Call): Identity {
  const { routing: _, cacheControls: __, ...rest } = identity
  return {
    ...rest,
    models: [],
    aliases: {},
    enforcedParams: [],
    budgetFallbacks: {},
    limits: [],
    tags: [...new Set([...options.tags, COPY_TAG])],
  }
}

function bodyOf(call: Call, group: string): Record<string, unknown> {
  const body: Record<string, unknown> = { ...call.parsed, model: group }
  for (const name of DROPPED) delete body[name]
  // The tags of the request are the identity's here, where they are not refused as a client's.
  delete body['tags']
  const { metadata } = call.options
  if (metadata !== null) body['metadata'] = Array.isArray(metadata['tags']) ? { ...metadata, tags: undefined } : metadata
  delete body['litellm_metadata']
  return { ...body, disable_fallbacks: true, cache: { 'no-cache': true, 'no-store': true } }
}

/** What providers read, and whose call it is. */
function headersOf({ message, options }: Call): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name of ['anthropic-beta', 'anthropic-version', 'x-litellm-trace-id', 'x-litellm-session-id']) {
    const value = message.headers[name]
    if (value !== undefined) headers[name] = value
  }
  if (options.endUser !== null) headers['x-litellm-end-user-id'] = options.endUser
  return headers
}
