import { afterEach, describe, expect, it } from 'vitest'
import { CLOSE, SWITCHING_PROTOCOLS } from '../proto/sockets.ts'
import { identityOf, KEY, type Scene, startScene } from './testing.ts'

let scene: Scene
afterEach(() => scene.stop())

describe('the session of a key', () => {
  it('that is blocked ends, also when accounting does not answer at first', async () => {
    const identity = identityOf()
    scene = await startScene({
      settings: { identityTimeout: 100 },
      identities: { [KEY]: identity },
      route: (stream) => stream.start({ v: 1, status: SWITCHING_PROTOCOLS, headers: {} }),
    })
    const socket = new WebSocket(`ws://127.0.0.1:${scene.edge.port}/v1/realtime?model=gpt-test`, [
      'realtime',
      `openai-insecure-api-key.${KEY}`,
    ])
    const closed = new Promise<{ code: number; reason: string }>((resolve) => {
      socket.onclose = resolve
    })
    await new Promise((resolve) => {
      socket.onopen = resolve
    })
    const { hub, accounting, router } = scene
    hub.faults.freeze(accounting.id)
    identity.blocked = true
    router.announce('identity', { keyHash: identity.keyHash })
    // Asked again twice: the first question is not answered in time.
    const frozen = new Promise<void>((resolve) => setTimeout(resolve, 300))
    expect(await Promise.race([frozen, closed])).toBeUndefined()
    hub.faults.thaw(accounting.id)
    expect(await closed).toMatchObject({ code: CLOSE.policy, reason: 'blocked_key' })
  })
})
