import { fork } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testClock } from '../../shared/clock.ts'
import type { Log } from '../../shared/log.ts'
import { createShared } from './cluster.ts'
import { type Plan, planOf } from './plan.ts'
import { type Result, run, type Scene, START } from './run.ts'
import { openStore } from './store.ts'

/** Plays plans one after the other on a database of its own. */
export interface Stage {
  play(plan: Plan, options?: StageOptions): Promise<Result>
  close(): Promise<void>
}

export interface StageOptions {
  trace?: (line: string) => void
  log?: Log
  sabotage?: (scene: Scene) => void
}

/** `postgresUrl`: a server on which it may make a database. */
export async function openStage(postgresUrl: string): Promise<Stage> {
  const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'turnpike-simulated-'))
  const store = await openStore(postgresUrl, testClock(START))
  const shared = createShared()
  return {
    play: (plan, options = {}) => run({ plan, store, shared, directory: join(directory, 'spools'), ...options }),
    async close() {
      await store.drop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** In a process of its own: plays the seeds its parent names until there are no more. */
export async function work(postgresUrl: string): Promise<void> {
  const stage = await openStage(postgresUrl)
  const tell = (message: Result | 'ready'): void => void process.send?.(message)
  await new Promise<void>((resolve) => {
    process.on('disconnect', resolve)
    process.on('message', (seed: number | 'done') => {
      if (seed === 'done') resolve()
      else void stage.play(planOf(seed)).then(tell, (thrown) => tell(died(seed, String((thrown as Error).stack ?? thrown))))
    })
    tell('ready')
  })
  await stage.close()
  process.disconnect?.()
}

/** Plays `count` seeds from `from` on in `jobs` processes, which are `program` started anew, and tells of each. */
export async function playAll(
  program: string,
  postgresUrl: string,
  { from, count, jobs }: { from: number; count: number; jobs: number },
  onResult: (result: Result) => void,
): Promise<void> {
  let next = from
  const end = from + count
  const worker = async (): Promise<void> => {
    while (next < end) {
      let seed: number | null = null
      await new Promise<void>((resolve) => {
        const child = fork(program, ['--worker', postgresUrl], {
          stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
          // Most of what a run makes is gone with it: collected rarely, it costs a sixth less.
          execArgv: ['--max-semi-space-size=64'],
        })
        const give = (): void => {
          seed = next < end ? next++ : null
          child.send(seed ?? 'done')
        }
        child.on('message', (message: Result | 'ready') => {
          if (message !== 'ready') onResult(message)
          seed = null
          give()
        })
        child.on('exit', (code) => {
          // A plan may end its process: that is a result too, and the others go on in a new one.
          if (seed !== null) onResult(died(seed, `its process ended with ${code}`))
          else if (code !== 0) next = end
          resolve()
        })
      })
    }
  }
  await Promise.all(Array.from({ length: Math.min(jobs, count) }, worker))
}

function died(seed: number, why: string): Result {
  return {
    seed,
    hash: '',
    violations: [`crash: ${why}`],
    calls: 0,
    answered: 0,
    virtualSeconds: 0,
    steps: 0,
    statements: 0,
    faults: {},
  }
}
