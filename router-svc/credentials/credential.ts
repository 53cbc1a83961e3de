import type { UpstreamRequest } from '../providers/provider.ts'

/**
 * Proves to a provider who calls, where that is more than a constant header: signatures over the request, tokens that expire. One per
 * deployment, made when the runtime is compiled; what it fetches it fetches ahead of expiry and once for all calls that wait.
 */
export interface Credential {
  /** Where requests go when nobody gives a base URL and the provider's depends on what this knows: AWS's on the region. No trailing slash. */
  readonly base?: string
  /** The base URL somebody gave, made whole with what this knows: Google's project and location behind a bare host. */
  baseOver?(given: string): string
  /** What the environment says and the adapter must know, under the names of settings; a deployment's own win. */
  readonly settings?: Readonly<Record<string, unknown>>
  /**
   * Headers to add to the request, the last thing before it is sent. Throws or rejects with GatewayError `provider_authentication` that says
   * what is missing, never a secret. `now`: Unix milliseconds.
   */
  headers(request: UpstreamRequest, now: number): Record<string, string> | Promise<Record<string, string>>
}
