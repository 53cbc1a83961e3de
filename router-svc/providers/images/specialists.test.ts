import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { ImageEditRequest, ImageRequest, ImageResponse } from '../../canonical/image.ts'
import type { UploadedFile } from '../../canonical/uploaded-file.ts'
import { readForm } from '../../form.ts'
import { providerOf } from '../index.ts'
import { haveRecordings } from '../openai/recordings.suite.ts'
import type { Adapter, Conversation, Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { bytes, contextOf, json, play, targetOf } from './target.testkit.ts'

type Mode = 'image' | 'image_edit' | 'image_variation'
type AnyAdapter = Adapter<Record<string, unknown>, ImageResponse, never>

const CAT: UploadedFile = { name: 'cat.png', type: 'image/png', bytes: Buffer.from('cat') }
const MASK: UploadedFile = { name: 'mask.png', type: 'image/png', bytes: Buffer.from('mask') }
const CAT_64 = 'Y2F0'
const MASK_64 = 'bWFzaw=='

function at(name: string, mode: Mode, model: string, fields: Partial<Target> = {}) {
  const provider = providerOf(name) as Provider
  const adapter = provider[mode] as unknown as AnyAdapter
  const target = targetOf(name, provider, model, fields)
  return {
    provider,
    encode: (request: Partial<ImageRequest | ImageEditRequest>) =>
      adapter.encodeRequest({ model, prompt: 'a cat', ...request }, target),
    decode: (answer: UpstreamAnswer, request: object = {}) =>
      adapter.decodeResponse(answer.body, answer.headers, contextOf(request)),
    converse(request: Partial<ImageRequest | ImageEditRequest>, server: (request: UpstreamRequest) => UpstreamAnswer) {
      const asked = { model, prompt: 'a cat', ...request }
      const conversation = adapter.converse?.(asked, target, contextOf(asked)) as Conversation<ImageResponse> | null
      if (conversation === null) return null
      return play(conversation, server)
    },
  }
}

function bodyOf({ body }: UpstreamRequest): Record<string, unknown> {
  return JSON.parse(String(body)) as Record<string, unknown>
}

async function formOf({ body, headers }: UpstreamRequest): Promise<Record<string, unknown>> {
  return (await readForm(body as Uint8Array, headers['content-type'])) as Record<string, unknown>
}

describe('parameters of OpenAI that nobody has a word for', () => {
  it('are named together, left out where they may be, and sent where they are allowed', () => {
    const request = { background: 'transparent', style: 'vivid', user: 'u', n: 1, quality: 'standard' }
    expect(() => at('fal_ai', 'image', 'm').encode(request)).toThrow("['background', 'style']")
    expect(bodyOf(at('fal_ai', 'image', 'm', { dropParams: true }).encode(request))).toEqual({ num_images: 1, prompt: 'a cat' })
    const allowed = at('fal_ai', 'image', 'm', { allowedOpenaiParams: ['background', 'style'] }).encode(request)
    expect(bodyOf(allowed)).toMatchObject({ background: 'transparent', style: 'vivid' })
  })

  it('no more images than OpenAI would make are asked for', () => {
    expect(() => at('stability', 'image', 'sd3.5-large').encode({ n: 11 })).toThrow('n must be 10 at most')
  })
})

describe('fal.ai', () => {
  it('names sizes its own way, by model', () => {
    const flux = at('fal_ai', 'image', 'fal-ai/flux/schnell')
    const sent = flux.encode({ n: 2, size: '1024x1024', response_format: 'b64_json', seed: 3 })
    expect(sent.url).toBe('https://fal.run/fal-ai/flux/schnell')
    expect(bodyOf(sent)).toEqual({ image_size: 'square_hd', num_images: 2, prompt: 'a cat', seed: 3, sync_mode: true })
    expect(bodyOf(flux.encode({ size: '640x480' }))['image_size']).toEqual({ width: 640, height: 480 })
    expect(bodyOf(flux.encode({ size: 'portrait_4_3' }))['image_size']).toBe('portrait_4_3')
    expect(bodyOf(at('fal_ai', 'image', 'fal-ai/imagen4/preview').encode({ size: '1536x1024' }))['aspect_ratio']).toBe('4:3')
  })

  it('edits one image or a list of them', () => {
    const uri = `data:image/png;base64,${CAT_64}`
    const edit = at('fal_ai', 'image_edit', 'fal-ai/flux-pro/kontext').encode({ image: [CAT], mask: MASK })
    expect(bodyOf(edit)).toMatchObject({ image_url: uri, mask_url: `data:image/png;base64,${MASK_64}` })
    expect(bodyOf(at('fal_ai', 'image_edit', 'fal-ai/nano-banana/edit').encode({ image: [CAT] }))['image_urls']).toEqual([uri])
  })

  it('waits in its queue where that is the base', () => {
    const place = 'https://queue.fal.run/fal-ai/flux/requests/1'
    const answers = [
      json({ request_id: '1', status_url: `${place}/status`, response_url: place }),
      json({ status: 'IN_QUEUE' }),
      json({ status: 'COMPLETED' }),
      json({ images: [{ url: `data:image/png;base64,${CAT_64}`, width: 64, height: 32 }] }),
    ]
    const queue = at('fal_ai', 'image', 'fal-ai/flux', { base: 'https://queue.fal.run' })
    const played = queue.converse({ response_format: 'b64_json' }, () => answers.shift() as UpstreamAnswer)
    expect(played?.sent.map(({ url }) => url).slice(1)).toEqual([`${place}/status`, `${place}/status`, place])
    expect(played?.result).toMatchObject({
      data: [{ b64_json: CAT_64 }],
      billing: { units: { 'image_out:64x32:standard': 1, pixel_out: 2048 } },
    })
  })

  it('tells what may not be shown from what is wrong', () => {
    const { provider } = at('fal_ai', 'image', 'm')
    const detail = [{ loc: ['body', 'prompt'], msg: 'flagged', type: 'content_policy_violation' }]
    expect(provider.decodeError(422, {}, JSON.stringify({ detail }))).toMatchObject({ code: 'content_policy' })
  })
})

describe.skipIf(!haveRecordings())('recordings of fal.ai', () => {
  const load = (file: string) => {
    const url = new URL(`../../../../shared/fixtures/fal/${file}`, import.meta.url)
    const { exchanges } = JSON.parse(readFileSync(url, 'utf8')) as {
      exchanges: { request: { url: string; body: Record<string, unknown> }; response: { status: number; body: string } }[]
    }
    return exchanges[0] as (typeof exchanges)[number]
  }

  it('are read', () => {
    const { request, response } = load('text__huggingface.js__tape-767287e140a7.json')
    const flux = at('fal_ai', 'image', 'fal-ai/flux/schnell')
    const sent = flux.encode({ prompt: request.body['prompt'] as string })
    // The recording's own words for the form and the model are none of fal's.
    expect(sent.url).toBe(request.url)
    expect(request.body).toMatchObject({ prompt: bodyOf(sent)['prompt'] })
    const answer = flux.decode({ status: 200, headers: {}, body: Buffer.from(response.body) }, { prompt: 'x' })
    expect(answer).toMatchObject({
      created: 7,
      data: [{ url: 'https://fal.media/files/zebra/Qd-XoZhkXSAPB9axeDbT6.png' }],
      provider_specific_fields: { seed: 2868326603, has_nsfw_concepts: [false] },
      billing: { units: { 'image_out:1024x768:standard': 1, pixel_out: 786_432 } },
    })
  })

  it.each([
    ['error-422__huggingface.js__tape-5fef6f6bce54.json', 'body.model_name: field required'],
    ['error-422__huggingface.js__tape-ced2e2573f8b.json', 'expected'],
    ['error-400__huggingface.js__tape-e899e1e68342.json', 'Unsupported data URL'],
  ])('%s is a refusal in its own words', (file, words) => {
    const { response } = load(file)
    const error = at('fal_ai', 'image', 'm').provider.decodeError(response.status, {}, response.body)
    expect(error.message).toContain(words)
    expect(error.code).toBe(response.status === 400 ? 'provider_bad_request' : 'provider_unprocessable')
  })
})

describe('Recraft, after its documents', () => {
  it('is asked in OpenAI’s form with its own members, and says what it cost', () => {
    const recraft = at('recraft', 'image', 'recraftv3')
    const sent = recraft.encode({ n: 2, size: '1024x1024', style: 'digital_illustration', controls: { no_text: true } })
    expect(sent.url).toBe('https://external.api.recraft.ai/v1/images/generations')
    expect(bodyOf(sent)).toEqual({
      model: 'recraftv3',
      prompt: 'a cat',
      n: 2,
      size: '1024x1024',
      style: 'digital_illustration',
      controls: { no_text: true },
    })
    const answer = json({
      created: 1,
      credits: 80,
      data: [{ image_id: 'a', url: 'https://img.recraft.ai/a' }, { url: 'https://img.recraft.ai/b' }],
    })
    expect(recraft.decode(answer)).toMatchObject({ data: [{ image_id: 'a' }, {}], billing: { reportedCost: 80_000_000 } })
  })

  it('edits by strength, or where a mask says', async () => {
    const recraft = at('recraft', 'image_edit', 'recraftv3', { base: 'https://external.api.recraft.ai' })
    const edit = recraft.encode({ image: [CAT] })
    expect(edit.url).toBe('https://external.api.recraft.ai/v1/images/imageToImage')
    expect(await formOf(edit)).toMatchObject({ model: 'recraftv3', prompt: 'a cat', strength: '0.2', image: { name: 'cat.png' } })
    const masked = recraft.encode({ image: [CAT], mask: MASK })
    expect(masked.url).toMatch(/\/images\/inpaint$/)
    expect(await formOf(masked)).not.toHaveProperty('strength')
  })
})

describe('Stability AI, after its documents', () => {
  it('gets a form at the address of the model', async () => {
    const sent = at('stability', 'image', 'sd3.5-large').encode({ size: '1792x1024', negative_prompt: 'dogs' })
    expect(sent.url).toBe('https://api.stability.ai/v2beta/stable-image/generate/sd3')
    expect(sent.headers['accept']).toBe('application/json')
    expect(await formOf(sent)).toEqual({ prompt: 'a cat', aspect_ratio: '16:9', negative_prompt: 'dogs', model: 'sd3.5-large' })
    expect(at('stability', 'image', 'stable-image-ultra').encode({}).url).toMatch(/generate\/ultra$/)
    expect(() => at('stability', 'image', 'stable-image-inpaint-v1:0').encode({})).toThrow('it edits them')
  })

  it('is asked once an image', () => {
    const played = at('stability', 'image', 'stable-image-core').converse({ n: 3, response_format: 'url' }, () =>
      json({ image: CAT_64, finish_reason: 'SUCCESS', seed: 1 }),
    )
    expect(played?.sent).toHaveLength(3)
    expect(played?.pauses).toEqual([0])
    expect(played?.result).toMatchObject({
      data: [{ b64_json: CAT_64 }, {}, {}],
      billing: { units: { 'image_out:1024x1024:standard': 3 } },
    })
  })

  it('waits for what takes long', async () => {
    const answers = [
      json({ id: 'job' }),
      json({ id: 'job', status: 'in-progress' }, 202),
      json({ result: CAT_64, finish_reason: 'SUCCESS' }),
    ]
    const played = at('stability', 'image_edit', 'creative').converse({ image: [CAT] }, () => answers.shift() as UpstreamAnswer)
    expect(played?.sent.map(({ url }) => url)).toEqual([
      'https://api.stability.ai/v2beta/stable-image/upscale/creative',
      'https://api.stability.ai/v2beta/results/job',
      'https://api.stability.ai/v2beta/results/job',
    ])
    expect(await formOf(played?.sent[0] as UpstreamRequest)).toMatchObject({ image: { name: 'cat.png' } })
    expect(played?.result).toMatchObject({ data: [{ b64_json: CAT_64 }] })
  })

  it('holds back by a reason inside a success, or by a refusal', () => {
    const { decode, provider } = at('stability', 'image', 'sd3.5-large')
    expect(() => decode(json({ image: 'x', finish_reason: 'CONTENT_FILTERED' }))).toThrow(
      expect.objectContaining({ code: 'content_policy' }),
    )
    const refused = provider.decodeError(403, {}, '{"id":"1","name":"content_moderation","errors":["flagged"]}')
    expect(refused).toMatchObject({ code: 'content_policy', message: expect.stringContaining('flagged') })
    expect(provider.decodeError(402, {}, '{"id":"1","name":"payment_required","errors":["no credits"]}')).toMatchObject({
      code: 'provider_quota',
    })
  })
})

describe('Black Forest Labs, after its documents', () => {
  const POLL = 'https://api.eu1.bfl.ai/v1/get_result?id=1'

  it('is asked for a job an image, then exactly where it said, and bills what it said', () => {
    const queue: UpstreamAnswer[] = [
      json({ id: '1', polling_url: POLL, cost: 4 }),
      json({ id: '2', polling_url: `${POLL}2`, cost: 4 }),
      json({ status: 'Pending' }),
      json({ status: 'Ready', result: { sample: 'https://delivery-eu1.bfl.ai/a.jpeg', seed: 5 } }),
      json({ status: 'Ready', result: { sample: 'https://delivery-eu1.bfl.ai/b.jpeg' } }),
      bytes('cat', 'image/jpeg'),
      bytes('mask', 'image/jpeg'),
    ]
    const flux = at('black_forest_labs', 'image', 'flux-pro-1.1')
    const played = flux.converse({ n: 2, size: '1024x768', response_format: 'b64_json' }, () => queue.shift() as UpstreamAnswer)
    expect(bodyOf(played?.sent[0] as UpstreamRequest)).toEqual({ prompt: 'a cat', width: 1024, height: 768 })
    expect(played?.sent[0]?.url).toBe('https://api.bfl.ai/v1/flux-pro-1.1')
    expect(played?.sent.slice(2).map(({ url }) => url)).toEqual([
      POLL,
      `${POLL}2`,
      POLL,
      'https://delivery-eu1.bfl.ai/b.jpeg',
      'https://delivery-eu1.bfl.ai/a.jpeg',
    ])
    expect(played?.pauses).toEqual([0, 1500, 1500, 0])
    expect(played?.result).toMatchObject({
      data: [{ b64_json: expect.any(String) }, { b64_json: expect.any(String) }],
      billing: { reportedCost: 80_000_000, units: { 'image_out:1024x768:standard': 2 } },
    })
  })

  it('takes ratios where the model does, and the better quality as a raw image', () => {
    const sent = at('black_forest_labs', 'image', 'flux-pro-1.1-ultra').encode({ size: '1024x1792', quality: 'hd' })
    expect(bodyOf(sent)).toEqual({ prompt: 'a cat', aspect_ratio: '9:16', raw: true })
    expect(() => at('black_forest_labs', 'image', 'flux-dev').encode({ quality: 'hd' })).toThrow("'quality'")
  })

  it('edits images under the name the model has for them', () => {
    expect(bodyOf(at('black_forest_labs', 'image_edit', 'flux-kontext-pro').encode({ image: [CAT, CAT] }))).toMatchObject({
      input_image: CAT_64,
      input_image_2: CAT_64,
    })
    const filled = at('black_forest_labs', 'image_edit', 'flux-pro-1.0-fill').encode({ image: [CAT], mask: MASK })
    expect(bodyOf(filled)).toEqual({ prompt: 'a cat', image: CAT_64, mask: MASK_64 })
  })

  it.each([
    ['Request Moderated', 'content_policy'],
    ['Error', 'provider_error'],
    ['Task not found', 'provider_error'],
  ])('ends with %s', (status, code) => {
    const answers = [json({ id: '1', polling_url: POLL }), json({ status, details: { why: 'so' } })]
    const flux = at('black_forest_labs', 'image', 'flux-dev')
    expect(() => flux.converse({}, () => answers.shift() as UpstreamAnswer)).toThrow(expect.objectContaining({ code }))
  })
})

describe('Topaz, after its documents', () => {
  it('gets an image and gives one', async () => {
    const topaz = at('topaz', 'image_variation', 'Standard V2')
    const sent = topaz.encode({ image: [CAT], size: '2048x1024' })
    expect(sent).toMatchObject({ url: 'https://api.topazlabs.com/image/v1/enhance', headers: { accept: 'image/jpeg' } })
    expect(await formOf(sent)).toMatchObject({
      model: 'Standard V2',
      output_width: '2048',
      output_height: '1024',
      output_format: 'jpeg',
    })
    expect(topaz.decode(bytes('cat', 'image/jpeg'))).toMatchObject({ data: [{ b64_json: CAT_64 }] })
    expect(() => topaz.decode(json({ message: 'no' }))).toThrow('no')
  })
})

describe('RunwayML, after its documents', () => {
  it('makes a task and asks for it until it is done', () => {
    const answers = [
      json({ id: 't' }),
      json({ id: 't', status: 'RUNNING' }),
      json({ id: 't', status: 'SUCCEEDED', output: ['https://cdn.test/a'] }),
    ]
    const runway = at('runwayml', 'image', 'gen4_image')
    const played = runway.converse({ size: '1792x1024' }, () => answers.shift() as UpstreamAnswer)
    expect(bodyOf(played?.sent[0] as UpstreamRequest)).toEqual({ model: 'gen4_image', promptText: 'a cat', ratio: '1360:768' })
    expect(played?.sent[1]).toMatchObject({
      url: 'https://api.dev.runwayml.com/v1/tasks/t',
      headers: { 'x-runway-version': '2024-11-06' },
    })
    expect(played?.result).toMatchObject({
      data: [{ url: 'https://cdn.test/a' }],
      billing: { units: { 'image_out:1360x768:standard': 1 } },
    })
    expect(bodyOf(runway.encode({}))['ratio']).toBe('1920:1080')
  })

  it('fails as the task does', () => {
    const answers = [json({ id: 't' }), json({ id: 't', status: 'FAILED', failure: 'no', failureCode: 'SAFETY.INPUT.TEXT' })]
    const runway = at('runwayml', 'image', 'gen4_image')
    expect(() => runway.converse({}, () => answers.shift() as UpstreamAnswer)).toThrow(
      expect.objectContaining({ code: 'content_policy' }),
    )
  })
})

describe('addresses in answers', () => {
  it.each(['http://169.254.169.254/latest', 'file:///etc/passwd', 'no address'])('%s is not fetched', (url) => {
    const answers = [json({ id: '1', polling_url: 'https://api.bfl.ai/1' }), json({ status: 'Ready', result: { sample: url } })]
    const flux = at('black_forest_labs', 'image', 'flux-dev')
    const sent: string[] = []
    const server = (request: UpstreamRequest) => {
      sent.push(request.url)
      return answers.shift() ?? bytes('secret')
    }
    expect(() => flux.converse({ response_format: 'b64_json' }, server)).toThrow(
      expect.objectContaining({ code: 'provider_malformed' }),
    )
    expect(sent).not.toContain(url)
  })
})

describe('Fireworks, after its documents', () => {
  const BASE = 'https://api.fireworks.ai/inference/v1'

  it('is asked by workflow or by the older route, and answers with the image', () => {
    const flux = at('fireworks_ai', 'image', 'flux-1-schnell-fp8')
    const sent = flux.encode({ size: '1792x1024', seed: 1 })
    expect(sent.url).toBe(`${BASE}/workflows/accounts/fireworks/models/flux-1-schnell-fp8/text_to_image`)
    expect(bodyOf(sent)).toEqual({ prompt: 'a cat', aspect_ratio: '16:9', seed: 1 })
    const older = at('fireworks_ai', 'image', 'accounts/me/models/sdxl').encode({ size: '512x512' })
    expect(older.url).toBe(`${BASE}/image_generation/accounts/me/models/sdxl`)
    expect(bodyOf(older)).toEqual({ prompt: 'a cat', width: 512, height: 512 })
    const played = flux.converse({ n: 2 }, () => bytes('cat'))
    expect(played?.result).toMatchObject({ data: [{ b64_json: CAT_64 }, { b64_json: CAT_64 }] })
  })

  it('makes jobs of Kontext, which are asked for by their id', () => {
    const answers = [
      json({ request_id: 'r' }),
      json({ status: 'Pending' }),
      json({ status: 'Ready', result: { sample: 'https://cdn.test/a' } }),
    ]
    const kontext = at('fireworks_ai', 'image_edit', 'flux-kontext-pro')
    const played = kontext.converse({ image: [CAT] }, () => answers.shift() as UpstreamAnswer)
    const place = `${BASE}/workflows/accounts/fireworks/models/flux-kontext-pro`
    expect(played?.sent.map(({ url }) => url)).toEqual([place, `${place}/get_result`, `${place}/get_result`])
    expect(bodyOf(played?.sent[0] as UpstreamRequest)).toEqual({
      prompt: 'a cat',
      input_image: `data:image/png;base64,${CAT_64}`,
    })
    expect(bodyOf(played?.sent[1] as UpstreamRequest)).toEqual({ id: 'r' })
    expect(played?.result).toMatchObject({ data: [{ url: 'https://cdn.test/a' }] })
    const moderated = [json({ request_id: 'r' }), json({ status: 'Content Moderated' })]
    expect(() => kontext.converse({ image: [CAT] }, () => moderated.shift() as UpstreamAnswer)).toThrow(
      expect.objectContaining({ code: 'content_policy' }),
    )
  })
})
