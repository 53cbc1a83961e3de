/**
 * What one request asks of routing: OpenRouter's `provider` object and model suffixes, LiteLLM's fallback fields, Portkey's config. Null
 * fields = nothing asked. Made once per call by `request-routing.ts`.
 */
export interface Preferences {
  /** `model: "x:floor"` is price, `x:nitro` throughput; `provider.sort`. */
  sort: 'price' | 'latency' | 'throughput' | null
  /** Providers (or deployment ids) in the order they are tried; others only with `allowFallbacks`. */
  order: readonly string[] | null
  only: readonly string[] | null
  ignore: readonly string[] | null
  allowFallbacks: boolean
  /** Deployments must support every parameter of the request. */
  requireParameters: boolean
  /** Nano-dollars per million tokens. */
  maxPrice: { prompt: number | null; completion: number | null } | null
}
