import { describe, expect, it } from 'vitest'
import { openaiSpeech, openaiTranscription } from './openai-audio.ts'
import { openaiImage, openaiImageEdit, openaiImageVariation } from './openai-image.ts'
import { openaiModeration } from './openai-moderation.ts'
import { rerank } from './rerank.ts'

const file = { name: 'a.png', type: 'image/png', bytes: Buffer.from('png') }

describe('requests with files', () => {
  it('have numbers, flags and lists where a form has only text', () => {
    const edit = openaiImageEdit.decodeRequest({
      model: 'm',
      prompt: 'p',
      image: file,
      n: '2',
      output_compression: '80',
      stream: true,
    })
    expect(edit).toMatchObject({ n: 2, output_compression: 80, stream: true, image: [file] })
    const heard = openaiTranscription.decodeRequest({
      model: 'm',
      file,
      temperature: '0.5',
      timestamp_granularities: 'word',
      stream: 'false',
      unknown: 'kept',
    })
    expect(heard).toMatchObject({ temperature: 0.5, timestamp_granularities: ['word'], stream: false, unknown: 'kept', file })
  })

  it('take data URLs for files, as JSON has them', () => {
    const image = 'data:image/png;base64,cG5n'
    const edit = openaiImageEdit.decodeRequest({ model: 'm', prompt: 'p', image: [image], mask: image })
    expect(edit.image).toEqual([{ name: 'image.png', type: 'image/png', bytes: Buffer.from('png') }])
    expect(edit.mask).toEqual({ name: 'mask.png', type: 'image/png', bytes: Buffer.from('png') })
  })

  it.each([
    ['image', () => openaiImageEdit.decodeRequest({ model: 'm', prompt: 'p' })],
    ['image', () => openaiImageVariation.decodeRequest({ model: 'm', image: 'a path' })],
    ['mask', () => openaiImageEdit.decodeRequest({ model: 'm', prompt: 'p', image: file, mask: 'x' })],
    ['n', () => openaiImageVariation.decodeRequest({ model: 'm', image: file, n: '1.5' })],
    ['n', () => openaiImageVariation.decodeRequest({ model: 'm', image: file, n: '' })],
    ['stream', () => openaiImageEdit.decodeRequest({ model: 'm', prompt: 'p', image: file, stream: 'perhaps' })],
    ['temperature', () => openaiTranscription.decodeRequest({ model: 'm', file, temperature: 'hot' })],
    ['file', () => openaiTranscription.decodeRequest({ model: 'm', file: [file, file] })],
    ['model', () => openaiTranscription.decodeRequest({ file })],
    ['response_format', () => openaiTranscription.decodeRequest({ model: 'm', file, response_format: 5 })],
  ])('name %s when it is missing or wrong', (param, decode) => {
    expect(decode).toThrow(expect.objectContaining({ code: 'bad_request', param }))
  })
})

describe('requests without', () => {
  it.each([
    ['prompt', () => openaiImage.decodeRequest({ model: 'm', prompt: '' })],
    ['n', () => openaiImage.decodeRequest({ model: 'm', prompt: 'p', n: 0 })],
    ['stream', () => openaiImage.decodeRequest({ model: 'm', prompt: 'p', stream: 'yes' })],
    ['voice', () => openaiSpeech.decodeRequest({ model: 'm', input: 'hi', voice: 3 })],
    ['speed', () => openaiSpeech.decodeRequest({ model: 'm', input: 'hi', voice: 'a', speed: 'fast' })],
    ['input', () => openaiModeration.decodeRequest({ model: 'm', input: 5 })],
    ['documents', () => rerank.decodeRequest({ model: 'm', query: 'q' })],
    ['documents[1]', () => rerank.decodeRequest({ model: 'm', query: 'q', documents: ['a', 2] })],
    ['top_n', () => rerank.decodeRequest({ model: 'm', query: 'q', documents: ['a'], top_n: 0 })],
  ])('name %s when it is missing or wrong', (param, decode) => {
    expect(decode).toThrow(expect.objectContaining({ code: 'bad_request', param }))
  })
})

describe('answers', () => {
  it('never show what is billed', () => {
    const billing = { input: 1 } as never
    expect(openaiImage.encodeResponse({ created: 1, data: [], billing }, 'm')).toBe('{"created":1,"data":[]}')
    expect(openaiTranscription.encodeResponse({ text: 'x', billing }, 'm')).toBe('{"text":"x"}')
    expect(openaiModeration.encodeResponse({ id: 'i', model: 'theirs', results: [], billing }, 'm')).toBe(
      '{"id":"i","model":"m","results":[]}',
    )
    expect(rerank.encodeResponse({ id: 'i', results: [], billing }, 'm')).toBe('{"id":"i","results":[]}')
  })

  it('are text where text was asked for', () => {
    const answer = { text: 'x', raw: 'WEBVTT\n' }
    expect(openaiTranscription.encodeResponse(answer, 'm')).toBe('WEBVTT\n')
    expect(openaiTranscription.contentType?.(answer, {} as never)).toBe('text/plain; charset=utf-8')
    expect(openaiTranscription.contentType?.({ text: 'x' }, {} as never)).toBe('application/json')
  })
})
