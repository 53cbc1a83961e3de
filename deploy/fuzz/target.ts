import type { FuzzedGateway } from './gateway.ts'
import type { Random } from './mutate.ts'

/** One input: what it is, in a line of JSON, and its bytes. A file of the corpus is the line, a line feed and the bytes. */
export interface Case {
  head: Readonly<Record<string, unknown>>
  body: Uint8Array
}

/** Something that is fed hostile input. A new one is one file and one line in index.ts. */
export interface Target {
  readonly name: string
  /** What is struck, in a few words: for the table in the README. */
  readonly about: string
  /** Milliseconds one case may take. */
  readonly deadline: number
  /** Runs in this process, where a hang can only be ended from another thread. */
  readonly inProcess: boolean
  /** Bytes that may be held after a run beyond what was held after its warm-up. */
  readonly memoryLimit: number
  open(tools: Tools): Promise<Session>
}

/** What targets share. */
export interface Tools {
  /** The one gateway all strike that strike one, started when first asked for. */
  gateway(): Promise<FuzzedGateway>
  /** PostgreSQL to use; null = one is started. */
  readonly databaseUrl: string | null
}

/** A target that is up. */
export interface Session {
  make(random: Random): Case
  /** Runs one case. Resolves to what is wrong with how it ended; null = nothing. */
  run(one: Case): Promise<string | null>
  /** Whether a case that fails may be made smaller; default yes. */
  divisible?(one: Case): boolean
  /** Bytes the target holds, after a collection of garbage. */
  memory(): Promise<number>
  /** What is wrong with the whole: its log, whether it still answers. Empty when nothing is. */
  check(): Promise<string[]>
  close(): Promise<void>
}

const LF = 10

/** A case as a file of the corpus. */
export function encodeCase({ head, body }: Case): Uint8Array {
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body])
}

/** Reads a file of the corpus. Throws when it does not begin with a line of JSON. */
export function decodeCase(bytes: Uint8Array): Case {
  const end = bytes.indexOf(LF)
  return { head: JSON.parse(Buffer.from(bytes.subarray(0, end)).toString('utf8')), body: bytes.subarray(end + 1) }
}
