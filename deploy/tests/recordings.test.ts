import { describe, expect, it } from 'vitest'
import { answersOf, filesOf, folders, haveRecordings, type Recorded } from './recorded-answers.testkit.ts'
import { LEFT, readingOf } from './recorded-routes.testkit.ts'
import { problemsOf } from './recorded-sweep.testkit.ts'

/**
 * Every recorded answer there is, through the adapter that would read it, and held against what a reading of the recording alone
 * says (recorded-words). The adapters' own tests know more of each; this one knows that none was forgotten.
 */
describe.skipIf(!haveRecordings())('every recording', () => {
  const seed = Date.now() % 1_000_000
  const all: Recorded[] = folders().flatMap((folder) => filesOf(folder).flatMap((file) => answersOf(folder, file)))

  it('is read by an adapter or left for a reason', () => {
    const nobody = all.filter((one) => readingOf(one) === null && !LEFT.some(([pattern]) => pattern.test(keyOf(one))))
    expect(nobody.map(keyOf)).toEqual([])
    // A reason nothing is left for is a reason no more.
    expect(LEFT.filter(([pattern]) => !all.some((one) => pattern.test(keyOf(one)))).map(String)).toEqual([])
  })

  for (const folder of folders()) {
    it(`of ${folder} says through its adapter what it says, streams in any pieces (seed ${seed})`, async () => {
      const wrong: string[] = []
      for (const one of all) {
        const reading = readingOf(one)
        if (one.folder !== folder || reading === null || LEFT.some(([pattern]) => pattern.test(keyOf(one)))) continue
        for (const text of await problemsOf(one, reading, seed)) wrong.push(`${keyOf(one)}: ${text}`)
      }
      expect(wrong).toEqual([])
    })
  }
})

function keyOf({ folder, file, index, method, url }: Recorded): string {
  return `${folder}/${file} ${index} ${method} ${url}`
}
