import { describe, expect, it } from 'vitest'
import { canonicalOf, spelled, target } from './encode.testkit.ts'
import { chats, haveRecordings } from './recordings.testkit.ts'
import { encodeBody } from './request.ts'
import type { Fields } from './wire.ts'

describe.skipIf(!haveRecordings())('recorded requests', () => {
  // One client sends the pieces of a call back as they came; here it is one call by then.
  const all = (haveRecordings() ? chats() : []).filter(
    ({ request }) => Array.isArray(request?.['contents']) && !JSON.stringify(request['contents']).includes('partialArgs'),
  )

  it('are many', () => {
    expect(all.length).toBeGreaterThanOrEqual(130)
  })

  for (const [index, { file, url, request }] of all.entries()) {
    it(`are encoded as they were sent: ${file} (${index})`, () => {
      const { model: named, ...recorded } = request as Fields
      const model = /models\/([^:]+):/.exec(url)?.[1] ?? String(named)
      const sent = spelled(recorded)
      const made = encodeBody(canonicalOf(sent), target({ model }))
      expect(spelled(made)).toEqual(sent)
    })
  }
})
