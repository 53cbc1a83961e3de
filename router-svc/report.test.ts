import { describe, expect, it } from 'vitest'
import type { Call } from './call.ts'
import { usageEvent } from './report.ts'

const END = { outcome: 'success', status: 200, error: null } as const

function call(clientCallId: string | undefined, metadata: Record<string, unknown> | null): Call {
  return {
    identity: { projectId: null },
    ticket: null,
    message: { callId: 'ours', take: 1, ...(clientCallId === undefined ? {} : { clientCallId }) },
    endpoint: { name: 'acompletion' },
    options: { endUser: null, tags: [], metadata, sessionId: null },
    attempts: [],
  } as unknown as Call
}

describe('usageEvent', () => {
  it('is of our id, and has the one the client gave in its metadata, over what the body says', () => {
    const event = usageEvent(call('own', { a: 1, litellm_call_id: 'body' }), END, 'r', 0)
    expect(event).toMatchObject({ callId: 'ours', metadata: { a: 1, litellm_call_id: 'own' } })
    expect(usageEvent(call('own', null), END, 'r', 0).metadata).toEqual({ litellm_call_id: 'own' })
    expect(usageEvent(call(undefined, { a: 1 }), END, 'r', 0).metadata).toEqual({ a: 1 })
    expect(usageEvent(call(undefined, null), END, 'r', 0)).not.toHaveProperty('metadata')
  })
})
