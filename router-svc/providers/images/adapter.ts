import type { TokenUsage } from '../../../proto/usage.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ImageEditRequest, ImageRequest, ImageResponse, ImageVariationRequest } from '../../canonical/image.ts'
import type { Fields } from '../json.ts'
import { billedUnits, imageUnits, withUnits } from '../openai/media-usage.ts'
import type { Adapter, Ask, Conversation, DecodeContext, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'

export type AnyImageRequest = ImageRequest | ImageEditRequest | ImageVariationRequest

/** What is a vendor's own in making images; how many requests it takes and how the images come to the client is done here. */
export interface ImageProtocol<Request extends AnyImageRequest> {
  /** Images one request makes at most; absent = as many as are asked for. */
  limit?(target: Target): number
  /** The first answer only tells of a job. */
  job?: true
  /** Throws GatewayError `unsupported_parameter` or `bad_request`. */
  encode(request: Request, target: Target, count: number): UpstreamRequest
  /** Throws GatewayError where an answer tells of a failure, or of nothing. */
  read(answer: UpstreamAnswer, asked: Asked): Made | Pending
}

export interface Asked {
  context: DecodeContext
  /** Of the conversation; null = there is none, and nothing more can be asked. */
  target: Target | null
  /** What it waited for; null for the first answer. */
  job: Pending | null
}

/** A job that is not done. */
export interface Pending {
  next: UpstreamRequest
  /** Milliseconds. */
  after: number
  /** What was told before and is not told again. */
  told?: Fields
}

export interface Made {
  images: ImageResponse['data']
  /** Members of the answer beside them. */
  fields?: Fields
  /** Counted by the provider, in tokens. */
  tokens?: TokenUsage | null
  /** Nano-dollars, where the provider says so. */
  cost?: number
  /** What was made, where it is not as it was asked for: variants of the price. */
  size?: string | undefined
  /** Of the price, in place of size and quality. */
  variant?: string
}

/** OpenAI makes ten at most; here each may be a request of its own. */
const MOST = 10

export function imageAdapter<Request extends AnyImageRequest>(
  mode: 'image' | 'image_edit' | 'image_variation',
  protocol: ImageProtocol<Request>,
): Adapter<Request, ImageResponse, never> {
  const limitOf = (target: Target) => protocol.limit?.(target) ?? Number.POSITIVE_INFINITY
  return {
    mode,
    encodeRequest: (request, target) => protocol.encode(request, target, Math.min(countOf(request), limitOf(target))),
    decodeResponse(body, headers, context) {
      const made = protocol.read({ status: 200, headers, body }, { context, target: null, job: null })
      if ('next' in made) throw new GatewayError('provider_malformed', 'The answer holds no images.')
      return joined([made], made.images, context)
    },
    converse(request, target, context) {
      const several = countOf(request) > limitOf(target)
      if (protocol.job !== true && !several && request.response_format !== 'b64_json') return null
      return making(protocol, request, target, context)
    },
  }
}

/** Throws `bad_request` for more images than anybody may ask for at once. */
function countOf({ n }: AnyImageRequest): number {
  const count = typeof n === 'number' ? n : 1
  if (count <= MOST) return count
  throw new GatewayError('bad_request', `litellm.BadRequestError: n must be ${MOST} at most, not ${count}.`, { param: 'n' })
}

function* making<Request extends AnyImageRequest>(
  protocol: ImageProtocol<Request>,
  request: Request,
  target: Target,
  context: DecodeContext,
): Conversation<ImageResponse> {
  const count = countOf(request)
  const limit = Math.min(count, protocol.limit?.(target) ?? count)
  const sends: UpstreamRequest[] = []
  const counts: number[] = []
  for (let left = count; left > 0; left -= limit) {
    counts.push(Math.min(left, limit))
    sends.push(protocol.encode(request, target, Math.min(left, limit)))
  }
  const readIf = (answer: UpstreamAnswer | null, job: Pending | null): Made | Pending | null => {
    if (answer === null) return job
    try {
      return protocol.read(answer, { context, target, job })
    } catch {
      // Nobody bills for what it says has failed.
      return null
    }
  }
  const first = yield {
    send: sends,
    used: (came) =>
      begunOf(
        came.map((answer) => readIf(answer, null)),
        counts,
        request,
      ),
  }
  const steps = first.map((answer) => protocol.read(answer, { context, target, job: null }))
  for (;;) {
    const open = steps.flatMap((step, at) => ('next' in step ? [{ step, at }] : []))
    if (open.length === 0) break
    const after = Math.min(...open.map(({ step }) => step.after))
    const answers = yield {
      send: open.map(({ step }) => step.next),
      after,
      used: (came) => {
        const now: (Made | Pending | null)[] = [...steps]
        for (const [index, { step, at }] of open.entries()) now[at] = readIf(came[index] ?? null, step)
        return begunOf(now, counts, request)
      },
    }
    for (const [index, { step, at }] of open.entries())
      steps[at] = protocol.read(answers[index] as UpstreamAnswer, { context, target, job: step })
  }
  const made = steps as Made[]
  const images = made.flatMap((one) => one.images)
  return joined(made, request.response_format === 'b64_json' ? yield* fetched(images, target, made, request) : images, context)
}

/** What is billed of images that nobody will see: those that were made, and jobs that were taken. */
function begunOf(
  steps: readonly (Made | Pending | null)[],
  counts: readonly number[],
  request: Readonly<Fields>,
): TokenUsage | null {
  const made = steps.flatMap((step, at): Made[] => {
    if (step === null) return []
    return 'next' in step ? [{ images: Array.from({ length: counts[at] ?? 1 }, () => ({})) }] : [step]
  })
  if (made.length === 0) return null
  return steps.some((step) => step !== null && 'next' in step)
    ? { ...billingOf(made, request), estimated: true }
    : billingOf(made, request)
}

/** Images by their bytes: what has an address only is fetched. Their hosts get no credential that is not theirs. */
function* fetched(
  images: ImageResponse['data'],
  { base }: Target,
  made: readonly Made[],
  request: Readonly<Fields>,
): Generator<Ask, ImageResponse['data'], UpstreamAnswer[]> {
  const send: UpstreamRequest[] = []
  for (const { url, b64_json: bytes } of images)
    if (url !== undefined && bytes === undefined) send.push({ method: 'GET', url: checked(url, base), headers: {}, body: '' })
  if (send.length === 0) return images
  const answers = (yield { send, refusals: true, used: () => billingOf(made, request) }).values()
  return images.map(({ url, ...image }) => {
    if (url === undefined || image.b64_json !== undefined) return image
    const { status, body } = answers.next().value as UpstreamAnswer
    if (status >= 300)
      throw new GatewayError('provider_error', `The image could not be fetched from where it was put: status ${status}.`)
    return { ...image, b64_json: base64Of(body) }
  })
}

/** Addresses come from answers: nothing is fetched in the clear, but from the deployment's own server. */
function checked(url: string, base: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null
  if (parsed?.protocol === 'https:' || (parsed !== null && URL.canParse(base) && parsed.origin === new URL(base).origin))
    return url
  throw new GatewayError('provider_malformed', 'The answer holds an address that no image can be fetched from.')
}

function joined(made: readonly Made[], images: ImageResponse['data'], { created, request }: DecodeContext): ImageResponse {
  if (images.length === 0) throw new GatewayError('provider_malformed', 'The answer holds no images.')
  const billing = billingOf(made, request)
  const usage = made.some(({ tokens }) => tokens) ? { usage: usageShown(billing) } : {}
  return { created, ...made[0]?.fields, data: images, ...usage, billing }
}

/** As OpenAI writes it. */
function usageShown({ input, output, imageInput = 0 }: TokenUsage): Fields {
  return {
    input_tokens: input,
    input_tokens_details: { image_tokens: imageInput, text_tokens: Math.max(0, input - imageInput) },
    output_tokens: output,
    total_tokens: input + output,
  }
}

function billingOf(made: readonly Made[], request: Readonly<Fields>): TokenUsage {
  const units: Record<string, number> = {}
  let tokens: TokenUsage | null = null
  let cost: number | undefined
  for (const one of made) {
    for (const [name, amount] of Object.entries(unitsOf(one, request))) units[name] = (units[name] ?? 0) + amount
    if (one.tokens) tokens = tokens === null ? one.tokens : added(tokens, one.tokens)
    if (one.cost !== undefined) cost = (cost ?? 0) + one.cost
  }
  const usage = tokens === null ? billedUnits(units) : withUnits(tokens, units)
  return cost === undefined ? usage : { ...usage, reportedCost: cost }
}

function unitsOf({ images, size, variant }: Made, request: Readonly<Fields>): Record<string, number> {
  const units = imageUnits(images.length, request, size === undefined ? {} : { size })
  if (variant === undefined) return units
  const pixels = units['pixel_out']
  const named = variant === '' ? 'image_out' : `image_out:${variant}`
  return { [named]: images.length, ...(pixels === undefined ? {} : { pixel_out: pixels }) }
}

/** Counts of two requests of one call. */
function added(one: TokenUsage, other: TokenUsage): TokenUsage {
  const sum: Fields = { ...one }
  for (const [name, value] of Object.entries(other)) {
    const before = sum[name]
    if (typeof value === 'number') sum[name] = (typeof before === 'number' ? before : 0) + value
    else if (typeof value === 'boolean') sum[name] = before === true || value
  }
  return sum as unknown as TokenUsage
}

export function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
