import { GatewayError, openaiErrorBody } from '../../shared/errors.ts'
import type { ImageEditRequest, ImageRequest, ImageResponse, ImageVariationRequest } from '../canonical/image.ts'
import type { Dialect } from './dialect.ts'
import { filesOf, typedFields } from './form-fields.ts'
import { checkFields, checkModel, invalid } from './request-fields.ts'

const FIELDS = [
  ['n', 'positive integer'],
  ['size', 'string'],
  ['quality', 'string'],
  ['style', 'string'],
  ['response_format', 'string'],
  ['background', 'string'],
  ['moderation', 'string'],
  ['output_format', 'string'],
  ['output_compression', 'integer'],
  ['partial_images', 'integer'],
  ['stream', 'boolean'],
  ['user', 'string'],
] as const

const FORM = { n: 'number', output_compression: 'number', partial_images: 'number', stream: 'boolean' } as const

const ANSWERS = {
  protocol: null,
  streamType: 'text/event-stream',
  encodeResponse: ({ billing: _, ...response }: ImageResponse) => JSON.stringify(response),
  encodeStream: (): never => {
    throw new GatewayError('unsupported_endpoint', 'The images of this provider are not streamed.', { param: 'stream' })
  },
  encodeError: (error: GatewayError) => JSON.stringify(openaiErrorBody(error)),
} as const

/** OpenAI's image generation. */
export const openaiImage: Dialect<ImageRequest, ImageResponse, never> = {
  name: 'openai-image',
  mode: 'image',
  ...ANSWERS,
  decodeRequest(body) {
    checkPrompt(body)
    return body as ImageRequest
  },
}

/** OpenAI's image edits: a form with images. */
export const openaiImageEdit: Dialect<ImageEditRequest, ImageResponse, never> = {
  name: 'openai-image-edit',
  mode: 'image_edit',
  ...ANSWERS,
  decodeRequest(form) {
    const body = typedFields(form, FORM)
    checkPrompt(body)
    const { mask } = body
    return {
      ...body,
      image: filesOf(body, 'image'),
      ...(mask === undefined || mask === null ? {} : { mask: filesOf(body, 'mask')[0] }),
    } as ImageEditRequest
  },
}

/** OpenAI's image variations: a form with an image. */
export const openaiImageVariation: Dialect<ImageVariationRequest, ImageResponse, never> = {
  name: 'openai-image-variation',
  mode: 'image_variation',
  ...ANSWERS,
  decodeRequest(form) {
    const body = typedFields(form, FORM)
    checkModel(body)
    checkFields(body, FIELDS)
    return { ...body, image: filesOf(body, 'image') } as ImageVariationRequest
  },
}

function checkPrompt(body: Record<string, unknown>): void {
  checkModel(body)
  if (typeof body['prompt'] !== 'string' || body['prompt'] === '') throw invalid('prompt', 'non-empty string', body['prompt'])
  checkFields(body, FIELDS)
}
