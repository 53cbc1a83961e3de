import { describe, expect, it } from 'vitest'
import type { ImageEditRequest, ImageRequest, ImageResponse } from '../../canonical/image.ts'
import type { UploadedFile } from '../../canonical/uploaded-file.ts'
import { providerOf } from '../index.ts'
import type { Adapter, Conversation, Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { bytes, contextOf, json, play, targetOf } from './target.testkit.ts'

/** Forms after the platforms' documents: nobody recorded them. */

type AnyAdapter = Adapter<Record<string, unknown>, ImageResponse, never>

const CAT: UploadedFile = { name: 'cat.png', type: 'image/png', bytes: Buffer.from('cat') }
const MASK: UploadedFile = { name: 'mask.png', type: 'image/png', bytes: Buffer.from('mask') }
const CAT_64 = 'Y2F0'
const MASK_64 = 'bWFzaw=='

function at(name: string, mode: 'image' | 'image_edit' | 'image_variation', model: string, fields: Partial<Target> = {}) {
  const provider = providerOf(name) as Provider
  const adapter = provider[mode] as unknown as AnyAdapter
  const target = targetOf(name, provider, model, fields)
  const asked = (request: object) => ({ model, prompt: 'a cat', ...request })
  return {
    encode(request: Partial<ImageRequest | ImageEditRequest> & Record<string, unknown> = {}) {
      const { url, body } = adapter.encodeRequest(asked(request), target)
      return { url, body: JSON.parse(String(body)) as Record<string, unknown> }
    },
    decode: ({ body, headers }: UpstreamAnswer, request: object = {}) =>
      adapter.decodeResponse(body, headers, contextOf(request, model)),
    converse(request: object, server: (request: UpstreamRequest) => UpstreamAnswer) {
      const conversation = adapter.converse?.(asked(request), target, contextOf(asked(request)))
      return conversation == null ? null : play(conversation as Conversation<ImageResponse>, server)
    },
  }
}

const POLICY = expect.objectContaining({ code: 'content_policy' })

describe('Imagen', () => {
  const VERTEX = { base: 'https://us-central1-aiplatform.googleapis.com/projects/p/locations/us-central1' }

  it('is asked by predict, on either platform', () => {
    const { url, body } = at('gemini', 'image', 'imagen-4.0-generate-001').encode({
      n: 2,
      size: '1792x1024',
      negative_prompt: 'dogs',
      output_format: 'jpeg',
    })
    expect(url).toBe('https://generativelanguage.googleapis.com/v1beta/models/imagen-4.0-generate-001:predict')
    expect(body).toEqual({
      instances: [{ prompt: 'a cat' }],
      parameters: { sampleCount: 2, aspectRatio: '16:9', outputOptions: { mimeType: 'image/jpeg' }, negativePrompt: 'dogs' },
    })
    expect(at('vertex_ai', 'image', 'imagegeneration@006', VERTEX).encode().url).toBe(
      'https://us-central1-aiplatform.googleapis.com/v1beta1/projects/p/locations/us-central1/publishers/google/models/imagegeneration@006:predict',
    )
    expect(() => at('gemini', 'image', 'imagen-4.0-generate-001').encode({ quality: 'hd', style: 'vivid' })).toThrow(
      "['quality', 'style']",
    )
  })

  it('edits by references', () => {
    const { body } = at('vertex_ai', 'image_edit', 'imagen-3.0-capability-001', VERTEX).encode({
      image: [CAT],
      mask: MASK,
      size: '1024x1024',
    })
    expect(body).toMatchObject({
      instances: [
        {
          prompt: 'a cat',
          referenceImages: [
            { referenceType: 'REFERENCE_TYPE_RAW', referenceId: 1, referenceImage: { bytesBase64Encoded: CAT_64 } },
            { referenceType: 'REFERENCE_TYPE_MASK', referenceId: 2, referenceImage: { bytesBase64Encoded: MASK_64 } },
          ],
        },
      ],
      parameters: { sampleCount: 1, editMode: 'EDIT_MODE_INPAINT_INSERTION' },
    })
    expect(body['parameters']).not.toHaveProperty('aspectRatio')
  })

  it('makes four a request, and more in several', () => {
    const predictions = [{ bytesBase64Encoded: CAT_64, mimeType: 'image/png', prompt: 'a fine cat' }]
    const counts: unknown[] = []
    const played = at('gemini', 'image', 'imagen-4.0-generate-001').converse({ n: 6 }, ({ body }) => {
      counts.push((JSON.parse(String(body)) as { parameters: { sampleCount: number } }).parameters.sampleCount)
      return json({ predictions })
    })
    expect(counts).toEqual([4, 2])
    expect(played?.result).toMatchObject({
      data: [{ b64_json: CAT_64, revised_prompt: 'a fine cat' }, {}],
      billing: { units: { 'image_out:1024x1024:standard': 2 } },
    })
  })

  it('that holds all images back has refused; of some, the others count', () => {
    const { decode } = at('gemini', 'image', 'imagen-4.0-generate-001')
    expect(() => decode(json({}))).toThrow(POLICY)
    expect(() => decode(json({ predictions: [{ raiFilteredReason: 'Because.' }] }))).toThrow('Because.')
    const some = [{ raiFilteredReason: 'no' }, { bytesBase64Encoded: CAT_64 }]
    expect(decode(json({ predictions: some }), { n: 2 }).billing?.units).toEqual({ 'image_out:1024x1024:standard': 1 })
  })
})

describe('Gemini’s image models', () => {
  const answer = json({
    candidates: [
      {
        finishReason: 'STOP',
        content: {
          parts: [
            { thought: true, inlineData: { data: 'draft' } },
            { text: 'Here.' },
            { inlineData: { mimeType: 'image/png', data: CAT_64 } },
          ],
        },
      },
    ],
    usageMetadata: {
      promptTokenCount: 5,
      candidatesTokenCount: 1290,
      totalTokenCount: 1295,
      promptTokensDetails: [{ modality: 'TEXT', tokenCount: 5 }],
      candidatesTokensDetails: [{ modality: 'IMAGE', tokenCount: 1290 }],
    },
  })

  it('are asked to answer with an image', () => {
    const { url, body } = at('gemini', 'image', 'gemini-3-pro-image-preview').encode({
      size: '4096x4096',
      temperature: 1,
      safety_settings: [],
    })
    expect(url).toBe('https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro-image-preview:generateContent')
    expect(body).toEqual({
      contents: [{ role: 'user', parts: [{ text: 'a cat' }] }],
      safetySettings: [],
      generationConfig: { responseModalities: ['IMAGE'], temperature: 1, imageConfig: { aspectRatio: '1:1', imageSize: '4K' } },
    })
    const older = at('gemini', 'image', 'gemini-2.5-flash-image').encode({ size: '1536x1024' }).body
    expect(older['generationConfig']).toEqual({ responseModalities: ['IMAGE'], imageConfig: { aspectRatio: '3:2' } })
  })

  it('get the images they work on beside the words', () => {
    const { body } = at('gemini', 'image_edit', 'gemini-2.5-flash-image').encode({ image: [CAT] })
    expect(body['contents']).toEqual([
      { role: 'user', parts: [{ inlineData: { mimeType: 'image/png', data: CAT_64 } }, { text: 'a cat' }] },
    ])
    expect(() => at('gemini', 'image_edit', 'gemini-2.5-flash-image').encode({ image: [CAT], mask: MASK })).toThrow("'mask'")
  })

  it('are billed by the tokens they say, the sum of all requests', () => {
    const made = at('gemini', 'image', 'gemini-2.5-flash-image')
    expect(made.decode(answer)).toMatchObject({
      data: [{ b64_json: CAT_64 }],
      billing: { input: 5, output: 1290, imageOutput: 1290, estimated: false },
    })
    const played = made.converse({ n: 3 }, () => answer)
    expect(played?.sent).toHaveLength(3)
    expect(played?.result).toMatchObject({
      billing: { input: 15, output: 3870, imageOutput: 3870 },
      usage: { input_tokens: 15, output_tokens: 3870 },
    })
  })

  it('refuse in several ways', () => {
    const { decode } = at('gemini', 'image', 'gemini-2.5-flash-image')
    expect(() => decode(json({ promptFeedback: { blockReason: 'PROHIBITED_CONTENT' } }))).toThrow(POLICY)
    expect(() => decode(json({ candidates: [{ finishReason: 'IMAGE_SAFETY' }] }))).toThrow(POLICY)
    const said = json({ candidates: [{ finishReason: 'STOP', content: { parts: [{ text: 'I would rather talk.' }] } }] })
    expect(() => decode(said)).toThrow('I would rather talk.')
  })
})

describe('images of Bedrock', () => {
  const BASE = { base: 'https://bedrock-runtime.us-east-1.amazonaws.com' }

  it('of Amazon’s models are one of their tasks', () => {
    const { url, body } = at('bedrock', 'image', 'amazon.nova-canvas-v1:0', BASE).encode({
      n: 2,
      size: '1024x1024',
      quality: 'hd',
      seed: 1,
      negative_prompt: 'dogs',
    })
    expect(url).toBe('https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-canvas-v1%3A0/invoke')
    expect(body).toEqual({
      taskType: 'TEXT_IMAGE',
      textToImageParams: { text: 'a cat', negativeText: 'dogs' },
      imageGenerationConfig: { numberOfImages: 2, width: 1024, height: 1024, quality: 'premium', seed: 1 },
    })
    const edit = at('bedrock', 'image_edit', 'amazon.titan-image-generator-v2:0', BASE)
    expect(edit.encode({ image: [CAT], mask: MASK }).body).toMatchObject({
      taskType: 'INPAINTING',
      inPaintingParams: { text: 'a cat', image: CAT_64, maskImage: MASK_64 },
    })
    const vary = at('bedrock', 'image_variation', 'amazon.titan-image-generator-v2:0', BASE)
    expect(vary.encode({ image: [CAT] }).body).toMatchObject({
      taskType: 'IMAGE_VARIATION',
      imageVariationParams: { images: [CAT_64] },
    })
    const asked = edit.encode({ image: [CAT], taskType: 'OUTPAINTING', outPaintingParams: { maskPrompt: 'sky' } }).body
    expect(asked).toMatchObject({
      taskType: 'OUTPAINTING',
      outPaintingParams: { text: 'a cat', image: CAT_64, maskPrompt: 'sky' },
    })
  })

  it('of Stability’s models take a ratio, and steps', () => {
    expect(at('bedrock', 'image', 'stability.sd3-5-large-v1:0', BASE).encode({ size: '1024x1792' }).body).toEqual({
      prompt: 'a cat',
      mode: 'text-to-image',
      aspect_ratio: '9:16',
    })
    const edited = at('bedrock', 'image_edit', 'stability.stable-image-inpaint-v1:0', BASE).encode({
      image: [CAT],
      mask: MASK,
    }).body
    expect(edited).toEqual({ prompt: 'a cat', image: CAT_64, mask: MASK_64 })
    const xl = at('bedrock', 'image', 'stability.stable-diffusion-xl-v1', BASE)
    expect(xl.encode({ size: '512x512', steps: 70, negative_prompt: 'dogs' }).body).toEqual({
      text_prompts: [
        { text: 'a cat', weight: 1 },
        { text: 'dogs', weight: -1 },
      ],
      width: 512,
      height: 512,
      steps: 70,
    })
    const artifacts = json({ result: 'success', artifacts: [{ base64: CAT_64, finishReason: 'SUCCESS' }] })
    expect(xl.decode(artifacts, { steps: 70, size: '512x512' })).toMatchObject({
      data: [{ b64_json: CAT_64 }],
      billing: { units: { 'image_out:more_than_50_steps': 1 } },
    })
  })

  it('are read, and refusals in them', () => {
    const nova = at('bedrock', 'image', 'amazon.nova-canvas-v1:0', BASE)
    expect(nova.decode(json({ images: [CAT_64, CAT_64] }), { quality: 'high', size: '2048x2048' })).toMatchObject({
      data: [{ b64_json: CAT_64 }, {}],
      billing: { units: { 'image_out:above_1024_and_1024_pixels_and_premium_image': 2 } },
    })
    expect(() => nova.decode(json({ images: [], error: 'blocked by our content filters' }))).toThrow(POLICY)
    const held = json({ images: [], seeds: [1], finish_reasons: ['Filter reason: prompt'] })
    expect(() => at('bedrock', 'image', 'stability.sd3-5-large-v1:0', BASE).decode(held)).toThrow(POLICY)
  })

  it('are none of a model that makes none', () => {
    expect(() => at('bedrock', 'image', 'meta.llama3-8b-instruct-v1:0', BASE).encode()).toThrow(
      expect.objectContaining({ code: 'unsupported_endpoint' }),
    )
  })
})

describe('images of Workers AI and of Hugging Face', () => {
  it('are asked for by the native routes', () => {
    const base = 'https://api.cloudflare.com/client/v4/accounts/a/ai'
    const flux = at('cloudflare', 'image', '@cf/black-forest-labs/flux-1-schnell', { base: `${base}/v1` })
    expect(flux.encode({ size: '512x512', steps: 4 })).toEqual({
      url: `${base}/run/@cf/black-forest-labs/flux-1-schnell`,
      body: { width: 512, height: 512, prompt: 'a cat', steps: 4 },
    })
    const hub = at('huggingface', 'image', 'stabilityai/sdxl')
    expect(hub.encode({ size: '512x512' })).toEqual({
      url: 'https://router.huggingface.co/hf-inference/models/stabilityai/sdxl',
      body: { inputs: 'a cat', parameters: { width: 512, height: 512 } },
    })
    expect(at('huggingface', 'image', 'a/b', { base: 'https://mine.test/sdxl' }).encode().url).toBe('https://mine.test/sdxl')
    expect(() => at('huggingface', 'image', 'fal-ai/a/b').encode()).toThrow('use that provider itself')
  })

  it('are read as bytes and as base64', () => {
    const { decode } = at('cloudflare', 'image', '@cf/x/y')
    expect(decode(bytes('cat'))).toMatchObject({ data: [{ b64_json: CAT_64 }] })
    expect(decode(json({ result: { image: CAT_64 }, success: true }))).toMatchObject({ data: [{ b64_json: CAT_64 }] })
    expect(() => decode(json({ success: false, errors: [{ code: 3036, message: 'daily' }] }))).toThrow(
      expect.objectContaining({ code: 'provider_quota' }),
    )
    const hub = at('huggingface', 'image', 'a/b')
    expect(hub.decode(bytes('cat', 'image/jpeg'))).toMatchObject({
      data: [{ b64_json: CAT_64 }],
      billing: { units: { 'image_out:1024x1024:standard': 1 } },
    })
    expect(() => hub.decode(json({ error: 'loading' }))).toThrow('loading')
  })
})
