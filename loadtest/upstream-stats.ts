import type { Clock } from '../shared/clock.ts'
import type { Protocol, StatedUsage } from './answer-text.ts'
import type { Answer } from './answers.ts'

export interface UpstreamStats {
  /** Connections accepted so far, and open now. */
  connections: number
  open: number
  /** Calls so far; being read or answered now; most of those at once. */
  requests: number
  active: number
  peak: number
  /** Calls answered to the end; left by the caller before that; failed by script (status, fault). */
  completed: number
  aborted: number
  faulted: number
  /** Connections given up because the peer did not speak HTTP. */
  unreadable: number
  /** Bytes read; bytes handed to sockets; how often a socket was full and the answer waited. */
  bytesIn: number
  bytesOut: number
  pauses: number
  /** Sums of the usage stated in answers. */
  usage: StatedUsage
}

/** One call as it was served. Times are Unix milliseconds. */
export interface ServedCall {
  id: string
  path: string
  /** The `@name` of the path, or empty. */
  site: string
  protocol: Protocol
  model: string
  stream: boolean
  headers: Record<string, string>
  /** The first and last 64 KB of the body when it is larger than 1 MB, otherwise all of it. */
  body: string
  bodyBytes: number
  bodySha256: string
  status: number
  /** `active` until it ends; `faulted`: ended as scripted, by an error status or a fault. */
  outcome: 'active' | 'completed' | 'aborted' | 'faulted'
  startedAt: number
  endedAt: number | null
  /** Text chunks and characters handed to the socket. */
  chunks: number
  text: number
  /** Text chunks made, also after the caller left (fault `deaf`): what a provider may bill. */
  generated: number
  bytesOut: number
  pauses: number
  /** The usage, when it was handed to the socket. */
  usage: StatedUsage | null
}

/** State of one provider, shared by its connections. */
export interface Shop {
  clock: Clock
  stats: UpstreamStats
  calls: Map<string, ServedCall[]>
  attempts: Map<string, number>
  answers: Map<string, Answer>
  changed(): void
}

export function emptyStats(): UpstreamStats {
  return {
    ...{ connections: 0, open: 0, requests: 0, active: 0, peak: 0, completed: 0, aborted: 0, faulted: 0, unreadable: 0 },
    ...{ bytesIn: 0, bytesOut: 0, pauses: 0 },
    usage: { prompt: 0, completion: 0, cached: 0, written: 0, reasoning: 0 },
  }
}
