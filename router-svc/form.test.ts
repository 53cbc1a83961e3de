import { describe, expect, it } from 'vitest'
import { readForm } from './form.ts'

const formOf = (parts: number): Uint8Array =>
  Buffer.from(`${'--mark\r\nContent-Disposition: form-data; name="a[]"\r\n\r\n1\r\n'.repeat(parts)}--mark--\r\n`)

describe('a form', () => {
  it.each([
    'multipart/form-data; boundary=mark',
    'multipart/form-data; boundary="mark"',
    'multipart/form-data; x=y; Boundary=mark; z',
  ])('has a thousand parts at most: %s', async (type) => {
    expect((await readForm(formOf(1000), type))?.['a']).toHaveLength(1000)
    await expect(readForm(formOf(1001), type)).rejects.toMatchObject({ code: 'bad_request' })
  })
})
