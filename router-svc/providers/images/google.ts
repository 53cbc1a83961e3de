import type { ImageEditRequest, ImageRequest } from '../../canonical/image.ts'
import type { UploadedFile } from '../../canonical/uploaded-file.ts'
import { tokensOf } from '../../canonical/usage.ts'
import { camelKeys } from '../gemini/parameters.ts'
import { decodeUsage } from '../gemini/usage.ts'
import { type Fields, isFields, text } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import { sidesOf } from '../openai/media-usage.ts'
import { postJson } from '../post-json.ts'
import type { Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { base64Of, imageAdapter, type Made } from './adapter.ts'
import { failure, objectIn } from './answers.ts'
import { imageFields, ratioOf } from './parameters.ts'

const IMAGEN_RATIOS = ['1:1', '16:9', '9:16', '4:3', '3:4']
const GEMINI_RATIOS = ['1:1', '2:3', '3:2', '3:4', '4:3', '4:5', '5:4', '9:16', '16:9', '21:9']
/** Images of one request to Imagen; Gemini makes one. */
const IMAGEN_LIMIT = 4
const LOOKS = ['quality', 'style'] as const

/** Why an answer holds no image: it would have been one that may not be shown. */
const HELD_BACK = /SAFETY|PROHIBITED|RECITATION|BLOCKLIST|SPII/

/** Parameters of `generationConfig`; others stand beside it. */
const GENERATION =
  /^(?:temperature|topP|topK|seed|candidateCount|maxOutputTokens|responseModalities|imageConfig|thinkingConfig|mediaResolution)$/

/**
 * Google's images: Imagen by `predict`, Gemini's image models by `generateContent`. `urlOf`: where a model is asked for something, which is all
 * that differs between its two platforms.
 */
export function googleImages(
  name: string,
  urlOf: (target: Target, method: 'predict' | 'generateContent') => string,
): Pick<Provider, 'image' | 'image_edit'> {
  const limit = (target: Target) => (isImagen(target) ? IMAGEN_LIMIT : 1)
  const read = (answer: UpstreamAnswer) => readAnswer(name, answer)
  const encode = (request: ImageRequest | ImageEditRequest, target: Target, count: number): UpstreamRequest =>
    isImagen(target)
      ? postJson(urlOf(target, 'predict'), predictBody(request, target, count))
      : postJson(urlOf(target, 'generateContent'), generateBody(request, target))
  return {
    image: imageAdapter<ImageRequest>('image', { limit, read, encode }),
    image_edit: imageAdapter<ImageEditRequest>('image_edit', { limit, read, encode }),
  }
}

function isImagen({ model, baseModel }: Target): boolean {
  return /imagen|imagegeneration/.test(baseModel ?? model)
}

function predictBody(request: ImageRequest | ImageEditRequest, target: Target, count: number): Fields {
  const {
    prompt,
    size,
    image,
    mask,
    output_format: format,
    output_compression: compression,
    ...fields
  } = imageFields(request, target, {
    unsupported: LOOKS,
    known: ['output_compression'],
  })
  const ratio = ratioOf(size, IMAGEN_RATIOS)
  const output = {
    ...(format === undefined ? {} : { mimeType: `image/${format}` }),
    ...(compression === undefined ? {} : { compressionQuality: compression }),
  }
  const images = Array.isArray(image) ? referencesOf(image as UploadedFile[], mask as UploadedFile | undefined) : null
  const parameters = {
    sampleCount: count,
    // Edited images keep their sides.
    ...(ratio === undefined || images !== null ? {} : { aspectRatio: ratio }),
    ...(Object.keys(output).length === 0 ? {} : { outputOptions: output }),
    ...(images === null ? {} : { editMode: mask === undefined ? 'EDIT_MODE_DEFAULT' : 'EDIT_MODE_INPAINT_INSERTION' }),
    ...camelKeys(fields),
  }
  return { instances: [{ prompt, ...(images === null ? {} : { referenceImages: images }) }], parameters }
}

function referencesOf(images: readonly UploadedFile[], mask: UploadedFile | undefined): Fields[] {
  const references: Fields[] = images.map(({ bytes }, index) => ({
    referenceType: 'REFERENCE_TYPE_RAW',
    referenceId: index + 1,
    referenceImage: { bytesBase64Encoded: base64Of(bytes) },
  }))
  if (mask === undefined) return references
  const masking = {
    referenceType: 'REFERENCE_TYPE_MASK',
    referenceId: references.length + 1,
    referenceImage: { bytesBase64Encoded: base64Of(mask.bytes) },
    maskImageConfig: { maskMode: 'MASK_MODE_USER_PROVIDED', dilation: 0.01 },
  }
  return [...references, masking]
}

function generateBody(request: ImageRequest | ImageEditRequest, target: Target): Fields {
  const { prompt, size, image, ...fields } = imageFields(request, target, { unsupported: [...LOOKS, 'output_format', 'mask'] })
  const images = (Array.isArray(image) ? (image as UploadedFile[]) : []).map(({ type, bytes }) => ({
    inlineData: { mimeType: type, data: base64Of(bytes) },
  }))
  const own = camelKeys(fields)
  const given = { ...(isFields(own['generationConfig']) ? own['generationConfig'] : {}) }
  for (const [member, value] of Object.entries(own)) {
    if (!GENERATION.test(member)) continue
    given[member] = value
    delete own[member]
  }
  const config = { ...imageConfig(size, target), ...(isFields(given['imageConfig']) ? camelKeys(given['imageConfig']) : {}) }
  return {
    contents: [{ role: 'user', parts: [...images, { text: prompt }] }],
    ...own,
    generationConfig: {
      // The oldest of them cannot but speak, too.
      responseModalities: target.model.includes('gemini-2.0') ? ['TEXT', 'IMAGE'] : ['IMAGE'],
      ...given,
      ...(Object.keys(config).length === 0 ? {} : { imageConfig: config }),
    },
  }
}

/** Models from the third on make larger ones, by class. */
function imageConfig(size: unknown, { model }: Target): Fields {
  const ratio = ratioOf(size, GEMINI_RATIOS)
  if (ratio === undefined) return {}
  const longest = Math.max(...(sidesOf(size) ?? [0]))
  const large = longest > 1792 && /gemini-(?:[3-9]|\d\d)/.test(model)
  return { aspectRatio: ratio, ...(large ? { imageSize: longest > 3072 ? '4K' : '2K' } : {}) }
}

function readAnswer(name: string, answer: UpstreamAnswer): Made {
  const body = objectIn(answer)
  if (isFields(body['error'])) throw decodeError(name, 200, answer.headers, JSON.stringify(body))
  return Array.isArray(body['candidates']) || body['promptFeedback'] !== undefined ? generated(name, body) : predicted(name, body)
}

function predicted(name: string, { predictions }: Fields): Made {
  const list = (Array.isArray(predictions) ? predictions : []).filter(isFields)
  const images = list.flatMap(({ bytesBase64Encoded: data, prompt }) =>
    typeof data === 'string' ? [{ b64_json: data, ...(typeof prompt === 'string' ? { revised_prompt: prompt } : {}) }] : [],
  )
  if (images.length > 0) return { images }
  const reason = list.map(({ raiFilteredReason: told }) => text(told)).find((told) => told !== '')
  // It leaves out what it holds back, all of it if need be.
  throw failure(name, reason ?? 'All images were held back by the safety filters', true)
}

function generated(name: string, { candidates, promptFeedback, usageMetadata }: Fields): Made {
  const [candidate] = (Array.isArray(candidates) ? candidates : []).filter(isFields)
  const content = candidate !== undefined && isFields(candidate['content']) ? candidate['content'] : {}
  const parts = (Array.isArray(content['parts']) ? content['parts'] : []).filter(isFields)
  const images = parts.flatMap(({ inlineData, thought }) =>
    // Drafts are thoughts.
    isFields(inlineData) && typeof inlineData['data'] === 'string' && thought !== true ? [{ b64_json: inlineData['data'] }] : [],
  )
  if (images.length > 0) return { images, tokens: isFields(usageMetadata) ? tokensOf(decodeUsage(usageMetadata)) : null }
  const blocked = text(isFields(promptFeedback) ? promptFeedback['blockReason'] : undefined)
  const reason = blocked || text(candidate?.['finishReason'])
  const said = parts.map((part) => text(part['text'])).join('')
  const told = text(candidate?.['finishMessage']) || said || 'The model answered without an image'
  throw failure(name, reason === '' ? told : `${told} (${reason})`, blocked !== '' || HELD_BACK.test(reason))
}
