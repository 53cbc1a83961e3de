import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Claim, IdempotencyStore, StoredAnswer } from './store.ts'

export interface IdempotencyHarness {
  readonly store: IdempotencyStore
  /** The store of another process; a store of one process gives the same again. */
  readonly other: IdempotencyStore
  /** A store that keeps at most so many bytes. */
  small(maxBytes: number): IdempotencyStore
  /** Lets milliseconds pass in the store. */
  elapse(milliseconds: number): Promise<void>
  close(): Promise<void>
}

const LEASE = 60_000
const KEEP = 86_400_000

export function claimOf(fields: Partial<Claim> = {}): Claim {
  return { key: 'k1', fingerprint: 'f1', callId: 'call-1', owner: fields.callId ?? 'call-1', ...fields }
}

function answerOf(body: string | Uint8Array = '{"ok":true}', headers: Record<string, string> = {}): StoredAnswer {
  return { status: 200, headers: { 'content-type': 'application/json', ...headers }, body: Buffer.from(body as string) }
}

/** What every store of idempotent calls does. */
export function idempotencySuite(title: string, start: () => Promise<IdempotencyHarness>): void {
  describe(`idempotency (${title})`, () => {
    let harness: IdempotencyHarness
    let store: IdempotencyStore
    beforeEach(async () => {
      harness = await start()
      store = harness.store
    })
    afterEach(() => harness.close())

    const first = claimOf()
    const second = claimOf({ callId: 'call-2' })

    it('lets one call of a key run, and the next one when that failed', async () => {
      expect(await store.begin(first, LEASE)).toBe('new')
      expect(await harness.other.begin(second, LEASE)).toBe('running')
      expect(await store.begin(claimOf({ key: 'k2', callId: 'call-3' }), LEASE)).toBe('new')
      await store.abandon(first)
      expect(await harness.other.begin(second, LEASE)).toBe('new')
    })

    it('lets exactly one of many that begin at once run', async () => {
      const begun = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          (index % 2 === 0 ? store : harness.other).begin(claimOf({ callId: `call-${index}` }), LEASE),
        ),
      )
      expect(begun.filter((result) => result === 'new').length).toBe(1)
      expect(begun.filter((result) => result === 'running').length).toBe(49)
    })

    it.each([
      ['text', Buffer.from('data: {"text":"é€😀\\u0000"}\n\ndata: [DONE]\n\n')],
      ['bytes', Buffer.from([0, 255, 254, 0x80, 10, 13])],
      ['nothing', Buffer.alloc(0)],
      ['two megabytes', Buffer.alloc(2 * 1024 * 1024, 'x')],
    ])('gives every later call the answer, byte by byte: %s', async (_, body) => {
      await store.begin(first, LEASE)
      const answer = { status: 201, headers: { 'content-type': 'text/event-stream', 'x-a': 'ü"\n' }, body }
      expect(await store.finish(first, answer, KEEP)).toBe(true)
      for (const claim of [second, first, claimOf({ callId: 'call-3' })]) {
        const begun = (await harness.other.begin(claim, LEASE)) as StoredAnswer
        expect(begun.status).toBe(201)
        expect(begun.headers).toEqual(answer.headers)
        expect(Buffer.from(begun.body).equals(body)).toBe(true)
      }
    })

    it('calls another request under the same key a conflict, while the first runs and after it', async () => {
      const changed = claimOf({ callId: 'call-2', fingerprint: 'f2' })
      await store.begin(first, LEASE)
      expect(await store.begin(changed, LEASE)).toBe('conflict')
      await store.finish(first, answerOf(), KEEP)
      expect(await store.begin(changed, LEASE)).toBe('conflict')
      expect(await store.begin(second, LEASE)).toMatchObject({ status: 200 })
    })

    it('remembers that a call is done when its answer is not kept', async () => {
      await store.begin(first, LEASE)
      expect(await store.finish(first, null, KEEP)).toBe(false)
      expect(await store.begin(second, LEASE)).toBe('unkept')
    })

    it('lets a further take of the running call go on, and the former take end nothing', async () => {
      const take2 = claimOf({ owner: 'call-1~2' })
      await store.begin(first, LEASE)
      expect(await store.begin(take2, LEASE)).toBe('new')
      await store.abandon(first)
      expect(await store.finish(first, answerOf('first'), KEEP)).toBe(false)
      expect(await store.begin(second, LEASE)).toBe('running')
      expect(await store.finish(take2, answerOf('second'), KEEP)).toBe(true)
      expect(Buffer.from(((await store.begin(second, LEASE)) as StoredAnswer).body).toString()).toBe('second')
      // A third take of what is done gets the answer too, instead of a second bill.
      expect(await store.begin(claimOf({ owner: 'call-1~3' }), LEASE)).toMatchObject({ status: 200 })
    })

    it('frees a key whose router died when its lease runs out, and not before', async () => {
      await store.begin(first, LEASE)
      await harness.elapse(LEASE - 1_000)
      expect(await store.begin(second, LEASE)).toBe('running')
      await harness.elapse(1_000)
      expect(await store.begin(second, LEASE)).toBe('new')
      // The one thought dead comes back: the key is another's.
      await store.renew(first, LEASE)
      expect(await store.finish(first, answerOf('late'), KEEP)).toBe(false)
      expect(await store.begin(claimOf({ callId: 'call-3' }), LEASE)).toBe('running')
    })

    it('renews a running call for as long as it runs, and makes its record anew when the store lost it', async () => {
      await store.begin(first, LEASE)
      for (let round = 0; round < 3; round += 1) {
        await harness.elapse(LEASE - 1_000)
        await store.renew(first, LEASE)
      }
      expect(await store.begin(second, LEASE)).toBe('running')
      await harness.elapse(LEASE)
      await store.renew(first, LEASE)
      expect(await store.begin(second, LEASE)).toBe('running')
    })

    it('keeps the answer of a call whose lease ran out when nobody took the key meanwhile', async () => {
      await store.begin(first, LEASE)
      await harness.elapse(LEASE)
      expect(await store.finish(first, answerOf(), KEEP)).toBe(true)
      expect(await store.begin(second, LEASE)).toMatchObject({ status: 200 })
    })

    it('does not turn a finished call into a running one by a late renewal', async () => {
      await store.begin(first, LEASE)
      await store.finish(first, answerOf(), KEEP)
      await store.renew(first, LEASE)
      await store.abandon(first)
      expect(await store.begin(second, LEASE)).toMatchObject({ status: 200 })
    })

    it('keeps answers for their time, and forgets the key after it', async () => {
      await store.begin(first, LEASE)
      await store.finish(first, answerOf(), KEEP)
      await harness.elapse(KEEP - 1_000)
      expect(await store.begin(second, LEASE)).toMatchObject({ status: 200 })
      await harness.elapse(1_000)
      expect(await store.begin(claimOf({ callId: 'call-3', fingerprint: 'f2' }), LEASE)).toBe('new')
    })

    it('keeps no more bytes than it may, and still knows which calls are done', async () => {
      const small = harness.small(10_000)
      const claims = Array.from({ length: 8 }, (_, index) => claimOf({ key: `k${index}`, callId: `call-${index}` }))
      let kept = 0
      for (const claim of claims) {
        expect(await small.begin(claim, LEASE)).toBe('new')
        if (await small.finish(claim, answerOf('x'.repeat(2_000)), KEEP)) kept += 1
      }
      expect(kept).toBeGreaterThan(2)
      const begun = await Promise.all(claims.map((claim) => small.begin({ ...claim, callId: 'again', owner: 'again' }, LEASE)))
      const answers = begun.filter((result) => typeof result === 'object')
      expect(answers.length).toBeGreaterThan(1)
      expect(answers.length).toBeLessThan(5)
      expect(begun.filter((result) => result === 'unkept').length).toBe(8 - answers.length)
    })
  })
}
