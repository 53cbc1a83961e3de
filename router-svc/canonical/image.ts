import type { TokenUsage } from '../../proto/usage.ts'
import type { UploadedFile } from './uploaded-file.ts'

/** OpenAI's images: made from a prompt, from a prompt and images, from an image. Unknown fields survive. */
export interface ImageRequest {
  model: string
  prompt: string
  n?: number | null
  /** `1024x1024`, `auto`. */
  size?: string | null
  quality?: string | null
  style?: string | null
  response_format?: 'url' | 'b64_json' | null
  background?: string | null
  moderation?: string | null
  output_format?: string | null
  output_compression?: number | null
  partial_images?: number | null
  stream?: boolean | null
  user?: string | null
  [field: string]: unknown
}

/** Numbers and flags of a form are numbers and booleans here. */
export interface ImageEditRequest extends ImageRequest {
  /** At least one. */
  image: UploadedFile[]
  mask?: UploadedFile | null
  input_fidelity?: string | null
}

export interface ImageVariationRequest extends Omit<ImageRequest, 'prompt'> {
  image: UploadedFile[]
}

export interface ImageResponse {
  /** Unix seconds. */
  created: number
  data: { url?: string; b64_json?: string; revised_prompt?: string; [field: string]: unknown }[]
  /** As OpenAI writes it: input_tokens, output_tokens, total_tokens, input_tokens_details. */
  usage?: Record<string, unknown>
  size?: string
  quality?: string
  background?: string
  output_format?: string
  /** What is billed: tokens, or images (unit `image_out`, with size and quality as variants). Never shown to a client. */
  billing?: TokenUsage
  [field: string]: unknown
}
