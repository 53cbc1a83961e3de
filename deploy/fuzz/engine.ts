import { keepCase, keptCases } from './corpus.ts'
import { type FuzzedGateway, startFuzzedGateway } from './gateway.ts'
import { createRandom } from './mutate.ts'
import type { Case, Session, Target, Tools } from './target.ts'
import { createWatchdog } from './watchdog.ts'

export interface FuzzOptions {
  seed: number
  /** A run ends after so many new cases, or so many milliseconds, whichever comes first. */
  cases: number
  duration: number
  /** Whether what is kept is tried first. */
  replays: boolean
  /** Whether cases that fail are kept in the corpus. */
  keeps: boolean
  /** Told of each finding as it is made. */
  note(text: string): void
  /** Ends the run before its next case. */
  signal?: AbortSignal
}

export interface Finding {
  what: string
  /** Its file in the corpus, or where in the run it was; null = of the whole run. */
  where: string | null
}

export interface FuzzResult {
  target: string
  seed: number
  /** New cases, and those of the corpus. */
  cases: number
  kept: number
  perSecond: number
  /** Bytes held after the run beyond those after its first fifth. */
  growth: number
  findings: Finding[]
}

/** Findings after which a run has nothing more to say. */
const FINDINGS_MAX = 12
/** Cases after which everything else has its turn: a target in this process may never wait, and a signal would not be heard. */
const TURN = 64
/** Tries at making one failing case smaller, and milliseconds for all of them. */
const SHRINKS_MAX = 150
const SHRINK_TIME = 10_000

/** Tools for some runs; `close` stops what was started for them. */
export function createTools(databaseUrl: string | null): Tools & { close(): Promise<void> } {
  let gateway: Promise<FuzzedGateway> | null = null
  return {
    databaseUrl,
    gateway() {
      gateway ??= startFuzzedGateway(databaseUrl)
      return gateway
    },
    async close() {
      await (await gateway)?.stop()
    },
  }
}

/** Replays what is kept of a target, then feeds it new cases. Whatever fails is made smaller and kept. */
export async function fuzz(target: Target, tools: Tools, options: FuzzOptions): Promise<FuzzResult> {
  const { seed, keeps, note } = options
  const watchdog = target.inProcess ? createWatchdog(target) : null
  const session = await target.open(tools)
  const findings: Finding[] = []
  const seen = new Set<string>()
  const found = (what: string, where: string | null): void => {
    findings.push({ what, where })
    note(`${target.name}: ${what}${where === null ? '' : ` [${where}]`}`)
  }
  try {
    const attempt = (one: Case): Promise<string | null> => {
      watchdog?.begin(one)
      return tried(session, one, target.deadline).finally(() => watchdog?.end())
    }
    const kept = options.replays ? keptCases(target.name) : []
    for (const { name, one } of kept) {
      const what = await attempt(one)
      if (what !== null) found(what, `corpus/${target.name}/${name}`)
    }
    const startedAt = performance.now()
    const over = (share: number, at: number): boolean =>
      options.signal?.aborted === true ||
      at >= options.cases * share ||
      performance.now() - startedAt >= options.duration * share ||
      findings.length >= FINDINGS_MAX
    let before = 0
    let cases = 0
    for (let warm = false; !over(1, cases); cases += 1) {
      if (!warm && over(0.2, cases)) {
        before = await session.memory()
        warm = true
      }
      if (cases % TURN === 0) await new Promise((done) => setImmediate(done))
      const one = session.make(createRandom(seed * 1_000_003 + cases))
      const what = await attempt(one)
      if (what === null || seen.has(kindOf(what))) continue
      seen.add(kindOf(what))
      note(`${target.name}: ${what}`)
      const small = session.divisible?.(one) === false ? one : await shrink(one, what, attempt)
      found(what, keeps ? `corpus/${target.name}/${keepCase(target.name, small)}` : `seed ${seed}, case ${cases}`)
    }
    const elapsed = performance.now() - startedAt
    for (const what of await session.check()) found(what, null)
    const growth = before === 0 ? 0 : (await session.memory()) - before
    if (growth > target.memoryLimit) found(`it holds ${Math.round(growth / 1024 / 1024)} MB more after ${cases} cases`, null)
    return { target: target.name, seed, cases, kept: kept.length, perSecond: (cases / elapsed) * 1000, growth, findings }
  } finally {
    watchdog?.close()
    await session.close()
  }
}

/** One case within its time. What a session throws is wrong as well. */
async function tried(session: Session, one: Case, deadline: number): Promise<string | null> {
  const startedAt = performance.now()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`no end within ${deadline} ms`), deadline)
  })
  const what = await Promise.race([
    session.run(one).catch((error: unknown) => `it threw ${String((error as Error)?.stack ?? error)}`),
    late,
  ])
  clearTimeout(timer)
  const took = performance.now() - startedAt
  return what === null && took > deadline ? `no end within ${deadline} ms` : what
}

/** Findings of one kind differ in ids, numbers and quoted input. */
function kindOf(what: string): string {
  return what.replace(/"(?:[^"\\]|\\.)*"|[0-9a-f-]{8,}|\d+/g, '#').slice(0, 160)
}

/** Takes halves, quarters, … out of a failing case as long as it fails in the same way. */
async function shrink(one: Case, what: string, attempt: (one: Case) => Promise<string | null>): Promise<Case> {
  let small = one
  let tries = 0
  const until = performance.now() + SHRINK_TIME
  for (let size = Math.ceil(small.body.length / 2); size >= 1 && tries < SHRINKS_MAX; size = Math.floor(size / 2)) {
    for (let at = 0; at < small.body.length && tries < SHRINKS_MAX && performance.now() < until; tries += 1) {
      const body = Buffer.concat([small.body.subarray(0, at), small.body.subarray(at + size)])
      const again = await attempt({ head: small.head, body })
      if (again !== null && kindOf(again) === kindOf(what)) small = { head: small.head, body }
      else at += size
    }
  }
  return small
}
