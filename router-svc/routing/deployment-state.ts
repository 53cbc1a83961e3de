import type { ErrorCode } from '../../proto/errors.ts'

/**
 * What this router knows of one deployment, whatever runtime is in force: one instance per deployment id, kept in `states.ts`, hung on
 * every route (`route.state`), read by filters and strategies on the hot path. Monotonic milliseconds unless said otherwise.
 */
export interface DeploymentState {
  readonly id: string
  /** Calls running: here, and on the other routers as last heard. */
  readonly inFlight: number
  /** Not chosen before this; 0 = in rotation. In the past = it was cooled down and no call has succeeded since. */
  readonly cooldownUntil: number
  /** Ejected as an outlier before this; 0 = not. In the past = its traffic is returning. */
  readonly ejectedUntil: number
  /** Share of its usual traffic, 0 to 1: 0 while cooled down or ejected, rising while it returns, 1 otherwise. */
  share(now: number): number
  /** A background check failed, lately enough to count. */
  unhealthy(now: number): boolean
  /** Mean milliseconds per output token, and to the first token of streams; 0 = no sample yet, which strategies try first. */
  latency(now: number): number
  firstToken(now: number): number
  /** Mean output tokens per second; 0 = no sample yet. */
  throughput(now: number): number
  /** In the running minute of the wall clock, all routers together as far as known. `now`: Unix milliseconds. */
  requests(now: number): number
  tokens(now: number): number
}

/** How an attempt on a deployment ended, as its state counts it. */
export interface AttemptEnd {
  /** Null = it succeeded. `cancelled` by the client says nothing about the deployment. */
  error: ErrorCode | 'cancelled' | null
  /** What the provider said about coming back. */
  retryAfter?: number
  /** Whole attempt, and to its first token; null where there was none. */
  elapsed: number
  firstToken: number | null
  inputTokens: number
  outputTokens: number
}
