import { describe, expect, it } from 'vitest'
import { csvField, csvStream, wantsCsv } from './csv.ts'

describe('csvField', () => {
  it('quotes what would break a line apart, and only that', () => {
    expect(csvField('plain text')).toBe('plain text')
    expect(csvField('a,b')).toBe('"a,b"')
    expect(csvField('a "b"')).toBe('"a ""b"""')
    expect(csvField('a\r\nb')).toBe('"a\r\nb"')
  })

  it('takes the sting out of formulas, not out of numbers', () => {
    for (const text of ['=1+1', '+1', '-1', '@x', '\tx', '\rx']) expect(csvField(text).replace(/^"/, ''), text).toMatch(/^'/)
    expect(csvField('=HYPERLINK("http://x","y")')).toBe(`"'=HYPERLINK(""http://x"",""y"")"`)
    expect(csvField(-0.5)).toBe('-0.5')
  })

  it('writes nothing for what is not known, and times as ISO 8601', () => {
    expect([null, undefined].map(csvField)).toEqual(['', ''])
    expect(csvField(new Date(0))).toBe('1970-01-01T00:00:00.000Z')
    expect(csvField(true)).toBe('true')
  })
})

describe('csvStream', () => {
  const columns = { n: (item: number) => item, square: (item: number) => item * item }

  it('has its header when there are no lines', async () => {
    expect(await (await csvStream([], columns, 'x')).text()).toBe('n,square\r\n')
  })

  it('writes more than one piece, whole and in order', async () => {
    const numbers = Array.from({ length: 20_000 }, (_, index) => index)
    const text = await (await csvStream(numbers, columns, 'x')).text()
    expect(text.split('\r\n')).toEqual(['n,square', ...numbers.map((item) => `${item},${item * item}`), ''])
  })

  it('stops its source when the reader leaves', async () => {
    let ended = false
    async function* endless() {
      try {
        for (let item = 0; ; item++) yield item
      } finally {
        ended = true
      }
    }
    const { body } = await csvStream(endless(), columns, 'x')
    const reader = (body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    await reader.cancel()
    expect(ended).toBe(true)
  })

  it('fails before there is a response where the first line fails', async () => {
    async function* failing(): AsyncGenerator<number> {
      throw new Error('no')
      // biome-ignore lint/correctness/noUnreachable: makes it a generator of numbers
      yield 1
    }
    await expect(csvStream(failing(), columns, 'x')).rejects.toThrow('no')
  })
})

describe('wantsCsv', () => {
  it('follows the field, else the header', () => {
    const asks = (format: 'json' | 'csv' | undefined, accept: string | undefined) =>
      wantsCsv({ input: { format }, header: () => accept })
    expect([asks('csv', undefined), asks('json', 'text/csv'), asks(undefined, 'text/csv'), asks(undefined, '*/*')]).toEqual([
      true,
      false,
      true,
      false,
    ])
  })
})
