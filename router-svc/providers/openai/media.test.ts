import { describe, expect, it } from 'vitest'
import { MEDIA } from '../../../shared/catalog/media.ts'
import { PROVIDERS } from '../../../shared/catalog/providers.ts'
import { isUploadedFile, type UploadedFile } from '../../canonical/uploaded-file.ts'
import { readForm } from '../../form.ts'
import { providerOf } from '../index.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import type { Adapter, DecodeContext, Headers, Provider, Target } from '../provider.ts'

type Fields = Record<string, unknown>
type AnyAdapter = Adapter<Fields, Fields, never>
type Mode = 'image' | 'image_edit' | 'image_variation' | 'speech' | 'transcription' | 'translation' | 'moderation' | 'rerank'

const PNG: UploadedFile = { name: 'a.png', type: 'image/png', bytes: Buffer.from('png') }
const WAV: UploadedFile = { name: 'a.wav', type: 'audio/wav', bytes: waveOf(2) }
const EVENTS: Headers = { 'content-type': 'text/event-stream' }

function adapterOf(name: string, mode: Mode): AnyAdapter {
  return (providerOf(name) as Provider)[mode] as unknown as AnyAdapter
}

function targetOf(name: string, model: string, changes: Partial<Target> = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: name,
    model,
    base: providerOf(name)?.base ?? 'https://own.test/v1',
    ...changes,
  }
}

async function send(
  name: string,
  mode: Mode,
  request: Fields,
  changes: Partial<Target> = {},
): Promise<{ url: string; fields: Fields }> {
  const model = (request['model'] ?? 'm') as string
  const { url, body, headers } = adapterOf(name, mode).encodeRequest({ model, ...request }, targetOf(name, model, changes))
  const form = await readForm(body as Uint8Array, headers['content-type'])
  const fields = form ?? (JSON.parse(String(body)) as Fields)
  return {
    url,
    fields: Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, isUploadedFile(value) ? value.name : value])),
  }
}

const contextOf = (request: Fields): DecodeContext => ({
  id: 'chatcmpl-1',
  created: 7,
  model: (request['model'] ?? 'm') as string,
  request,
})

function read(name: string, mode: Mode, answer: unknown, request: Fields = {}): Fields {
  return adapterOf(name, mode).decodeResponse(Buffer.from(JSON.stringify(answer)), {}, contextOf(request))
}

function forward(name: string, mode: Mode, headers: Headers, request: Fields) {
  return adapterOf(name, mode).forward?.(headers, contextOf(request)) ?? null
}

const event = (fields: Fields) => Buffer.from(`event: ${fields['type']}\ndata: ${JSON.stringify(fields)}\n\n`)

describe('the table of media', () => {
  it('names providers of the table only, and every mode it names is there', () => {
    for (const [name, { modes }] of Object.entries(MEDIA)) {
      expect(Object.keys(PROVIDERS)).toContain(name)
      const provider = providerOf(name) as Provider
      for (const mode of modes) expect(provider[mode as Mode]?.mode, `${name} ${mode}`).toBe(mode)
    }
  })
})

describe('images', () => {
  it('of vendors get their words for size and form', async () => {
    const asked = { prompt: 'p', size: '512x256', n: 2, response_format: 'b64_json' }
    expect((await send('together_ai', 'image', asked)).fields).toEqual({
      model: 'm',
      prompt: 'p',
      n: 2,
      width: 512,
      height: 256,
      response_format: 'base64',
    })
    expect((await send('aiml', 'image', asked)).fields).toEqual({
      model: 'm',
      prompt: 'p',
      num_images: 2,
      image_size: { width: 512, height: 256 },
      output_format: 'b64_json',
    })
  })

  it('ask GPT image models for nothing they refuse', async () => {
    const asked = { model: 'gpt-image-1', prompt: 'p', response_format: 'b64_json', stream: false }
    expect((await send('openai', 'image', asked)).fields).toEqual({ model: 'gpt-image-1', prompt: 'p' })
    expect((await send('openai', 'image', { ...asked, stream: true })).fields).toEqual({
      model: 'gpt-image-1',
      prompt: 'p',
      stream: true,
    })
  })

  it('refuse what a vendor has not by its name, leave it out when told to, send it when allowed to', async () => {
    const asked = { prompt: 'p', quality: 'hd', style: 'vivid' }
    await expect(send('xai', 'image', asked)).rejects.toMatchObject({
      code: 'unsupported_parameter',
      param: 'quality',
    })
    expect((await send('xai', 'image', asked, { dropParams: true })).fields).toEqual({ model: 'm', prompt: 'p' })
    const allowed = await send('xai', 'image', asked, { allowedOpenaiParams: ['quality', 'style'] })
    expect(allowed.fields).toEqual({ model: 'm', ...asked })
  })

  it('are edited as JSON where forms are not taken', async () => {
    const url = 'data:image/png;base64,cG5n'
    const one = await send('xai', 'image_edit', { prompt: 'p', image: [PNG] })
    expect(one.fields).toEqual({ model: 'm', prompt: 'p', image: { type: 'image_url', url } })
    const two = await send('xai', 'image_edit', { prompt: 'p', image: [PNG, PNG] })
    expect(two.fields['images']).toHaveLength(2)
    await expect(send('openrouter', 'image_edit', { prompt: 'p', image: [PNG], mask: PNG })).rejects.toMatchObject({
      code: 'unsupported_parameter',
    })
  })

  it('are read from whatever holds them', () => {
    const answer = {
      images: [
        'https://i.test/1',
        'data:image/png;base64,QUE=',
        { image: 'QkI=', index: 2 },
        { image_url: { url: 'https://i.test/2' } },
      ],
    }
    expect(read('hyperbolic', 'image', answer)).toMatchObject({
      created: 7,
      data: [{ url: 'https://i.test/1' }, { b64_json: 'QUE=' }, { b64_json: 'QkI=', index: 2 }, { url: 'https://i.test/2' }],
    })
    expect(() => read('openai', 'image', { error: { message: 'no', code: 'content_policy_violation' } })).toThrow(/no/)
    expect(() => read('openai', 'image', { created: 1 })).toThrow(/no images/)
  })

  it('count cached tokens, and pictures and text apart', () => {
    const usage = {
      input_tokens: 100,
      output_tokens: 30,
      total_tokens: 130,
      input_tokens_details: { text_tokens: 20, image_tokens: 80, cached_tokens: 10, cached_tokens_details: { image_tokens: 10 } },
      output_tokens_details: { text_tokens: 5, image_tokens: 25 },
    }
    expect(read('openai', 'image', { data: [], usage })['billing']).toMatchObject({
      input: 100,
      imageInput: 80,
      cacheRead: 10,
      imageCacheRead: 10,
      output: 30,
      imageOutput: 25,
    })
  })
})

describe('streams', () => {
  const done = {
    type: 'image_generation.completed',
    b64_json: 'AA',
    usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
  }

  it('of several images add up what each tells', () => {
    const forwarded = forward('openai', 'image', EVENTS, { stream: true })
    forwarded?.see?.(Buffer.concat([event(done), event(done)]))
    forwarded?.end?.()
    expect(forwarded?.usage()).toMatchObject({ input: 2, output: 4, imageOutput: 4 })
  })

  it('that end without their last event are cut off, one whose last blank line is missing is not', () => {
    const cut = forward('openai', 'image', EVENTS, { stream: true })
    cut?.see?.(event({ type: 'image_generation.partial_image', b64_json: 'AA' }))
    expect(() => cut?.end?.()).toThrow(expect.objectContaining({ code: 'provider_truncated' }))
    const whole = forward('openai', 'image', EVENTS, { stream: true })
    whole?.see?.(event(done).subarray(0, -2))
    expect(() => whole?.end?.()).not.toThrow()
  })

  it('that tell of a failure fail with it', () => {
    const forwarded = forward('openai', 'transcription', EVENTS, { stream: true, file: WAV })
    const failed = event({ type: 'error', error: { message: 'too loud', type: 'server_error', code: 'rate_limit_exceeded' } })
    expect(() => forwarded?.see?.(failed)).toThrow(expect.objectContaining({ code: 'provider_rate_limited' }))
  })

  it('that a model does not know are its whole answer, billed all the same', () => {
    const forwarded = forward('openai', 'transcription', { 'content-type': 'application/json' }, { stream: true, file: WAV })
    forwarded?.see?.(Buffer.from('{"text":"hi","usage":{"type":"duration",'))
    forwarded?.see?.(Buffer.from('"seconds":2}}'))
    expect(forwarded?.usage()).toMatchObject({ units: { audio_ms_in: 2000 }, estimated: false })
  })
})

describe('speech', () => {
  it('has its content type from the answer, or from what was asked where that says nothing', () => {
    const asked = { input: 'hi', response_format: 'opus' }
    expect(forward('openai', 'speech', { 'content-type': 'audio/ogg' }, asked)?.contentType).toBe('audio/ogg')
    expect(forward('openai', 'speech', { 'content-type': 'application/octet-stream' }, asked)?.contentType).toBe('audio/opus')
    expect(forward('openai', 'speech', {}, { input: 'hi' })?.contentType).toBe('audio/mpeg')
  })

  it('of models billed by the token is estimated by its length', () => {
    const forwarded = forward(
      'openai',
      'speech',
      { 'content-type': 'audio/pcm' },
      { model: 'gpt-4o-mini-tts', input: 'hi', response_format: 'pcm' },
    )
    for (let second = 0; second < 60; second++) forwarded?.see?.(new Uint8Array(48_000))
    expect(forwarded?.usage()).toMatchObject({ audioOutput: 1250, output: 1250, estimated: true, units: { character_in: 2 } })
  })

  it('inside JSON is taken out of it', () => {
    const request = { input: 'abc', response_format: 'wav' }
    const json = { 'content-type': 'application/json' }
    const answer = adapterOf('mistral', 'speech').decodeResponse(Buffer.from('{"audio_data":"QUJD"}'), json, contextOf(request))
    expect(answer).toMatchObject({ audio: Buffer.from('ABC'), contentType: 'audio/wav', billing: { units: { character_in: 3 } } })
    const refused = Buffer.from('{"error":{"message":"no voice"}}')
    expect(() => adapterOf('mistral', 'speech').decodeResponse(refused, json, contextOf(request))).toThrow(/no voice/)
    const whole = adapterOf('openai', 'speech').decodeResponse(
      Buffer.from('ABC'),
      { 'content-type': 'audio/wav' },
      contextOf(request),
    )
    expect(whole).toMatchObject({ audio: Buffer.from('ABC'), contentType: 'audio/wav', billing: { units: { character_in: 3 } } })
  })
})

describe('transcriptions', () => {
  it('as their provider wrote them are billed by the length of the file', () => {
    const text = Buffer.from('1\n00:00:00,000 --> 00:00:01,000\nhi\n\n')
    const request = { model: 'gpt-4o-transcribe', response_format: 'srt', file: WAV }
    const answer = adapterOf('openai', 'transcription').decodeResponse(text, {}, contextOf(request))
    expect(answer).toMatchObject({ raw: text.toString(), billing: { units: { audio_ms_in: 2000 }, estimated: false } })
    const unknown = { ...request, file: { ...WAV, bytes: new Uint8Array(8000) } }
    expect(adapterOf('openai', 'transcription').decodeResponse(text, {}, contextOf(unknown))).toMatchObject({
      billing: { units: { audio_ms_in: 1000 }, estimated: true },
    })
  })

  it('without segments are subtitles of their words, or one', () => {
    const words = [
      { text: 'One', start: 0, end: 0.5 },
      { text: 'two.', start: 0.5, end: 1 },
      { text: 'Three', start: 2, end: 3 },
    ]
    const request = { response_format: 'vtt', file: WAV }
    expect(read('xai', 'transcription', { text: 'x', duration: 3, words }, request)['raw']).toBe(
      'WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nOne two.\n\n00:00:02.000 --> 00:00:03.000\nThree\n\n',
    )
    expect(read('xai', 'transcription', { text: 'All', duration: 3 }, request)['raw']).toBe(
      'WEBVTT\n\n00:00:00.000 --> 00:00:03.000\nAll\n\n',
    )
  })

  it('go to the host that has them, and elsewhere where the operator says', async () => {
    const { url, fields } = await send('fireworks_ai', 'transcription', { model: 'whisper-v3', file: WAV })
    expect(url).toBe('https://audio-prod.us-virginia-1.direct.fireworks.ai/v1/audio/transcriptions')
    expect(fields).toEqual({ model: 'whisper-v3', file: 'a.wav', response_format: 'verbose_json' })
    const own = await send('fireworks_ai', 'transcription', { model: 'whisper-v3', file: WAV }, { base: 'https://own.test/v1' })
    expect(own.url).toBe('https://own.test/v1/audio/transcriptions')
  })
})

describe('verdicts', () => {
  it('are made from categories where the provider gives none', () => {
    const answer = {
      id: 'x',
      model: 'mistral-moderation',
      results: [{ categories: { sexual: false, pii: true }, category_scores: { pii: 1 } }],
    }
    expect(read('mistral', 'moderation', answer)).toMatchObject({ results: [{ flagged: true }] })
    expect(() => read('mistral', 'moderation', { results: null })).toThrow(/no results/)
  })
})

describe('rankings', () => {
  const asked = { query: 'q', documents: ['a', { text: 'b' }, { title: 'c' }], top_n: 2 }

  it('of NVIDIA are of passages, by an address of the model, sorted and cut off here', async () => {
    const { url, fields } = await send('nvidia_nim', 'rerank', { model: 'nvidia/llama-3.2-rerank', ...asked })
    expect(url).toBe('https://ai.api.nvidia.com/v1/retrieval/nvidia/llama-3_2-rerank/reranking')
    expect(fields).toEqual({
      model: 'nvidia/llama-3.2-rerank',
      query: { text: 'q' },
      passages: [{ text: 'a' }, { text: 'b' }, { text: '{"title":"c"}' }],
    })
    const answer = {
      rankings: [
        { index: 1, logit: -3 },
        { index: 2, logit: 5.5 },
        { index: 0, logit: 0 },
      ],
      usage: { total_tokens: 9 },
    }
    expect(read('nvidia_nim', 'rerank', answer, { ...asked, return_documents: true })).toMatchObject({
      id: 'rerank-1',
      results: [
        { index: 2, relevance_score: 5.5, document: { title: 'c' } },
        { index: 0, relevance_score: 0, document: { text: 'a' } },
      ],
      billing: { input: 9 },
    })
  })

  it('of DeepInfra are scores in the order of the documents', async () => {
    const { url, fields } = await send('deepinfra', 'rerank', { model: 'Qwen/Qwen3-Reranker-8B', ...asked })
    expect(url).toBe('https://api.deepinfra.com/v1/inference/Qwen/Qwen3-Reranker-8B')
    expect(fields).toEqual({ queries: ['q'], documents: ['a', 'b', '{"title":"c"}'] })
    expect(read('deepinfra', 'rerank', { scores: [0.1, 0.9, 0.5], input_tokens: 42 }, asked)).toMatchObject({
      results: [
        { index: 1, relevance_score: 0.9 },
        { index: 2, relevance_score: 0.5 },
      ],
      billing: { input: 42 },
    })
  })

  it('in Cohere’s form keep searches billed and drop empty documents', () => {
    const answer = { results: [{ index: 0, relevance_score: 1, document: {} }], meta: { billed_units: { search_units: 3 } } }
    const read1 = read('litellm_proxy', 'rerank', answer, asked)
    expect(read1).toMatchObject({ results: [{ index: 0 }], billing: { units: { query: 3 } } })
    expect((read1['results'] as Fields[])[0]).not.toHaveProperty('document')
    expect(() => read('litellm_proxy', 'rerank', { results: [{ index: 0 }] }, asked)).toThrow(/without a score/)
  })
})

describe('Azure', () => {
  const base = 'https://own.openai.azure.com'
  const deployed = `${base}/openai/deployments/ears`

  it('has every endpoint at the deployment, forms too, with a version that knows it', async () => {
    const heard = await send(
      'azure',
      'transcription',
      { model: 'ears', file: WAV, response_format: 'srt' },
      { base, baseModel: 'whisper' },
    )
    expect(heard.url).toBe(`${deployed}/audio/transcriptions?api-version=2024-10-21`)
    expect(heard.fields).toMatchObject({ file: 'a.wav', response_format: 'verbose_json' })
    const edited = await send('azure', 'image_edit', { model: 'ears', image: [PNG], prompt: 'p' }, { base })
    expect(edited).toMatchObject({
      url: `${deployed}/images/edits?api-version=2025-04-01-preview`,
      fields: { image: 'a.png', prompt: 'p' },
    })
    const spoken = await send('azure', 'speech', { model: 'ears', input: 'hi', voice: 'alloy' }, { base, apiVersion: 'v1' })
    expect(spoken.url).toBe(`${base}/openai/v1/audio/speech`)
    const made = await send(
      'azure',
      'image',
      { model: 'ears', prompt: 'p' },
      { base: `${deployed}/chat/completions`, apiVersion: '2024-02-01' },
    )
    expect(made.url).toBe(`${deployed}/images/generations?api-version=2024-02-01`)
  })
})

/** A WAV file of silence, as long as that; seconds. */
function waveOf(seconds: number): Uint8Array {
  const head = Buffer.alloc(44)
  head.write('RIFF', 0)
  head.write('WAVEfmt ', 8)
  head.writeUInt32LE(16, 16)
  head.writeUInt32LE(16_000, 28)
  head.write('data', 36)
  head.writeUInt32LE(16_000 * seconds, 40)
  return Buffer.concat([head, Buffer.alloc(16_000 * seconds)])
}
