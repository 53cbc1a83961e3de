import type { Role } from '../../proto/subjects.ts'
import type { ServerName, World } from './world.ts'

/**
 * One thing that goes wrong under load, and what may then be seen. Everything that a client sees and `allows` does not name is a failure,
 * and so is everything the books do not explain; those have no exceptions.
 */
export interface Fault {
  /** As `--only` takes it. */
  name: string
  /** In the words of the table: what is done. `{hold}`, `{half}` of it, `{outage}`, `{streams}` and `{lasts}` are of the span. */
  title: string
  allows: Allows
  /** Does it, waits as long as it lasts, and takes it back: when this resolves everything is as it was, and recovery begins. */
  run(world: World, span: Span): Promise<void>
  /** Picked at random too. Named faults that need a load of their own, or minutes, are not. */
  random?: boolean
  /** Its own load; default the steady one. */
  load?: 'steady' | 'long-streams'
  /** Clients go through the proxies before the edges. */
  proxied?: boolean
}

/** How long things last, milliseconds. */
export interface Span {
  /** Frozen, slow or silent. */
  hold: number
  /** PostgreSQL refuses connections for so long. */
  outage: number
  /** Long streams open at once, and how long each lasts. */
  streams: number
  streamLasts: number
}

/** The words with the times of this run. */
export function titleOf({ title }: Pick<Fault, 'title'>, span: Span): string {
  const words: Record<string, string> = {
    hold: `${span.hold / 1000} s`,
    half: `${span.hold / 2000} s`,
    outage: `${span.outage / 1000} s`,
    streams: span.streams.toLocaleString('en-US'),
    lasts: `${span.streamLasts / 1000} s`,
  }
  return title.replace(/\{(\w+)\}/g, (whole, name: string) => words[name] ?? whole)
}

/** How a call may end, beside whole or refused for its budget. Made from what a client saw, in `endings.ts`. */
export interface Allows {
  /** Endings that are no failure here, such as `503 service_unavailable`; a `*` at the end stands for anything. */
  endings: readonly string[]
  /** Milliseconds without any call that succeeds. */
  gap: number
  /** Milliseconds after the end of the fault within which the last failing call has begun. */
  recovers: number
  /** Entries that were booked for requests that never reached the provider: a router died between its note and its request. */
  presumed?: boolean
  /** Requests whose answer the provider could not give to the end need not be booked: no answer was heard of. */
  unheard?: boolean
}

export const PROCESSES: readonly Role[] = ['edge', 'router', 'accounting']
export const SERVERS: readonly ServerName[] = ['nats', 'redis', 'postgres']

/** What anybody connected to an edge that dies sees: it was the other end of the connection. */
export const BROKEN = ['connection *', 'stream cut by the connection'] as const
/** What a stream sees when what served it is gone: an error event, and no more. */
export const TOLD = 'stream ended by an error event'

/** What calls with a budget or a limit are told while nobody can count. */
export const UNCOUNTED = '503 service_unavailable'

/** Resolves after so many milliseconds. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
