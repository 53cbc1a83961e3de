import type { WireError } from './errors.ts'
import type { ObjectNews } from './objects.ts'

/**
 * What one attempt used. Integers; absent = 0. `input` includes cache reads and writes, audio, images and video; `output` includes
 * reasoning, audio, images and video.
 */
export interface TokenUsage {
  input: number
  output: number
  cacheRead: number
  /** Cache writes kept for five minutes, and for one hour. */
  cacheWrite: number
  cacheWrite1h: number
  reasoning: number
  audioInput: number
  audioOutput: number
  imageInput?: number
  imageOutput?: number
  videoInput?: number
  videoOutput?: number
  /** Audio (image) tokens read from or written to a cache: part of `audioInput` (`imageInput`) AND of `cacheRead` or `cacheWrite`. */
  audioCacheRead?: number
  audioCacheWrite?: number
  imageCacheRead?: number
  /** Of a sum over several requests: the input of the largest, which decides by which prices (`Prices.tiers`) all of them are billed. */
  largestInput?: number
  /** Tokens of quoted sources, beside input and output (Perplexity). */
  citation?: number
  /** Counted here because the provider reported nothing. */
  estimated: boolean
  /** Tool calls the provider bills apart, by name and perhaps variant (`web_search`, `web_search:high`). */
  toolCalls?: Record<string, number>
  /** What is not counted in tokens: `UNITS` below, perhaps with variants behind colons (`image_out:1024x1536:high`). */
  units?: Record<string, number>
  /** Nano-dollars, where the provider says itself what the call cost. */
  reportedCost?: number
  /** `priority`, `flex`, `batch`, … where usage names it; an attempt's own says more. */
  serviceTier?: string
  /** Region that served, where usage names it (`us`). */
  region?: string
}

/** What is billed by something else than tokens. */
export const UNITS = [
  'image_in',
  'image_out',
  'pixel_in',
  'pixel_out',
  /** Milliseconds. */
  'audio_ms_in',
  'audio_ms_out',
  'video_ms_in',
  'video_ms_out',
  'character_in',
  'character_out',
  'page',
  'annotation_page',
  'credit',
  /** Rerank and search. */
  'query',
  'session',
] as const

export type Unit = (typeof UNITS)[number]

/** How one attempt or one call ended. `unsettled`: the process that knew died, booked by another from what it had announced. */
export type Outcome = 'success' | 'failure' | 'cancelled' | 'partial' | 'unsettled'

/** One try on one deployment. An attempt that a provider bills for becomes a ledger entry. */
export interface Attempt {
  /** 0, 1, … within the call. */
  index: number
  deploymentId: string
  provider: string
  /** Upstream model name, as sent. */
  model: string
  apiBase: string | null
  /** Unix milliseconds. */
  startedAt: number
  firstTokenAt: number | null
  endedAt: number
  outcome: Outcome
  error?: WireError
  /** Present when the provider bills the attempt: it succeeded, or produced part of an answer. */
  usage?: TokenUsage
  /** Model name the provider reported, when it differs. */
  reportedModel?: string
  serviceTier?: string
  /** Cost as the router computed it, nano-dollars; accounting computes the truth from usage. */
  cost?: number
  rateVersion?: string
}

/**
 * What happened to one call: who, what, where it was served, tokens, timings, outcome, every attempt. Appended durably by the
 * router, priced and booked by accounting. Unique by `callId` + `take`.
 */
export interface UsageEvent {
  v: number
  callId: string
  take: number
  endpoint: string
  stream: boolean
  keyHash: string
  keyAlias: string | null
  userId: string | null
  teamId: string | null
  organizationId: string | null
  projectId?: string | null
  endUser: string | null
  tags: string[]
  /** Model name as the client asked for it, and the model group it resolved to. */
  requestedModel: string
  modelGroup: string
  startedAt: number
  firstTokenAt: number | null
  endedAt: number
  outcome: Outcome
  status: number
  error?: WireError
  attempts: Attempt[]
  clientIp?: string
  routerId: string
  metadata?: Record<string, unknown>
  sessionId?: string
  /**
   * Scopes the cost counts in beside those its owners make (key, user, team, member, organization, project, customer, tags): models,
   * further windows, provider, deployment, run, proxy (limits.ts).
   */
  scopes?: string[]
  cacheHit?: boolean
  /** Of an answer from the cache: what it is kept under, and the tokens it saved, which nobody bills. */
  cacheKey?: string
  savedUsage?: TokenUsage
  /** What the call did to objects kept at providers. */
  objects?: ObjectNews[]
}

export const NO_TOKENS: Readonly<TokenUsage> = Object.freeze({
  input: 0,
  output: 0,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWrite1h: 0,
  reasoning: 0,
  audioInput: 0,
  audioOutput: 0,
  estimated: false,
})
