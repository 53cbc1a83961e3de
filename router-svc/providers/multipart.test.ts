import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readForm } from '../form.ts'
import { formParts, multipart } from './multipart.ts'

const file = (text: string, name = 'a.wav', type = 'audio/wav') => ({ name, type, bytes: Buffer.from(text) })

async function there(fields: Record<string, unknown>): Promise<Record<string, unknown> | null> {
  const { body, contentType } = multipart(formParts(fields))
  return readForm(body, contentType)
}

describe('multipart', () => {
  it('writes text, lists and files as the reader of forms reads them', async () => {
    const read = await there({ model: 'whisper-1', file: file('RIFF'), include: ['logprobs'], temperature: 0, prompt: null })
    expect({ ...read, file: undefined }).toEqual({ model: 'whisper-1', include: ['logprobs'], temperature: '0' })
    expect(read?.['file']).toMatchObject({ name: 'a.wav', type: 'audio/wav' })
    expect(read?.['file']).toHaveProperty('bytes', new Uint8Array(Buffer.from('RIFF')))
  })

  it('names one file by its name and several by a list of it', async () => {
    const { body } = multipart(formParts({ image: [file('1')] }))
    expect(Buffer.from(body).toString()).toContain('name="image"; filename')
    expect((await there({ image: [file('1'), file('2', 'b.png')] }))?.['image']).toHaveLength(2)
  })

  it('sends objects as JSON', async () => {
    expect(await there({ chunking_strategy: { type: 'server_vad' } })).toEqual({ chunking_strategy: '{"type":"server_vad"}' })
  })

  it('never lets a name or a content type write headers', async () => {
    const evil = { name: 'a"\r\nx-evil: 1', type: 'audio/wav\r\nx-evil: 1', bytes: Buffer.from('x') }
    const text = Buffer.from(multipart(formParts({ 'f"\r\n': evil })).body).toString()
    expect(text).not.toMatch(/^x-evil/m)
    expect((await there({ f: evil }))?.['f']).toMatchObject({ type: 'application/octet-stream' })
  })

  it('takes another boundary when the content holds it', async () => {
    const text = '--turnpike-form-0\r\n--turnpike-form-1--'
    expect(multipart(formParts({ text })).contentType).toBe('multipart/form-data; boundary=turnpike-form-2')
    expect(await there({ text })).toEqual({ text })
  })

  it('gives back any fields and any bytes', async () => {
    const name = fc.stringMatching(/^[a-z_]{1,12}$/)
    const bytes = fc.uint8Array({ maxLength: 200 })
    const content = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constant('--turnpike-form-0'), bytes)
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, content), async (fields) => {
        const sent = Object.entries(fields).map(([key, value]) => [
          key,
          typeof value === 'string' ? value : { name: 'n', type: 'x/y', bytes: value },
        ])
        const read = (await there(Object.fromEntries(sent))) as Record<string, unknown>
        expect(Object.keys(read).sort()).toEqual(Object.keys(fields).sort())
        for (const [key, value] of Object.entries(fields)) {
          const got = read[key]
          if (typeof value === 'string') expect(String(got)).toBe(value)
          else expect(Buffer.from((got as { bytes: Uint8Array }).bytes).equals(value)).toBe(true)
        }
      }),
      { numRuns: 100 },
    )
  })
})
