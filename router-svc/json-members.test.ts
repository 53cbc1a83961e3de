import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { JsonMembers } from './json-members.ts'

const scanned = (text: string): JsonMembers | null => {
  const members = new JsonMembers()
  return members.scan(Buffer.from(text)) ? members : null
}

describe('the members of a JSON object', () => {
  it('are found exactly, whatever the object holds and however it is spaced', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()),
        fc.constantFrom(undefined, 1, '\t'),
        (object, indent) => {
          const text = JSON.stringify(object, null, indent)
          const members = scanned(` ${text} \n`)
          if (members === null) throw new Error('not an object')
          const found = Array.from({ length: members.count }, (_, member) => [
            members.name(member),
            JSON.parse(members.text(member)),
          ])
          expect(found).toEqual(Object.entries(JSON.parse(text)))
        },
      ),
    )
  })

  it('are found in long strings full of quotes and backslashes', () => {
    for (const length of [60, 63, 64, 65, 500]) {
      for (const tail of ['\\', '"', '\\"', '\\\\', 'x']) {
        const object = { first: 'a'.repeat(length) + tail, second: `${tail.repeat(40)}b`, third: 1 }
        const members = scanned(JSON.stringify(object))
        expect(members?.count).toBe(3)
        expect(JSON.parse(members?.text(1) ?? '')).toBe(object.second)
      }
    }
  })

  it.each(['', '[]', '"x"', '{', '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":"x}', '{"a":[1}', '{a:1}', '{"a" 1}', '{"a":}'])(
    'are not found in %j',
    (text) => {
      expect(scanned(text)).toBeNull()
    },
  )

  it('may be looked up by name, and the end is told', () => {
    const members = new JsonMembers()
    expect(members.scan(Buffer.from('data: {"ab":1,"a":2} tail'), 6)).toBe(true)
    expect(members.find(Buffer.from('a'))).toBe(1)
    expect(members.find(Buffer.from('b'))).toBe(-1)
    expect(members.end).toBe(20)
  })
})
