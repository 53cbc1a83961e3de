import process from 'node:process'
import { parseArgs } from 'node:util'
import { createTools, type FuzzResult, fuzz } from './fuzz/engine.ts'
import { TARGETS } from './fuzz/index.ts'
import { save } from './fuzz/report.ts'

const USAGE = `Usage: npm run fuzz -- [options]

Feeds hostile input to the parts that read what others send, after all cases kept in deploy/fuzz/corpus. What fails is made smaller and
kept there; then the exit code is 1.

  --target A,B   of ${TARGETS.map(({ name }) => name).join(', ')}; default: all
  --seconds N    for each target; default 30
  --seed N       default: a random one, which is printed
  --save         adds the result to loadtest/results/fuzz.jsonl and writes the table in README.md`

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: {
      target: { type: 'string' },
      seconds: { type: 'string', default: '30' },
      seed: { type: 'string' },
      save: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const names = values.target?.split(',') ?? TARGETS.map(({ name }) => name)
  const unknown = names.filter((name) => !TARGETS.some((target) => target.name === name))
  const [seconds, seed] = [Number(values.seconds), Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))]
  if (values.help || unknown.length > 0 || !(seconds > 0) || !Number.isInteger(seed)) {
    console.log(unknown.length > 0 ? `There is no target ${unknown.join(', ')}.\n\n${USAGE}` : USAGE)
    return values.help
  }
  console.log(`seed ${seed}`)
  const results: FuzzResult[] = []
  const tools = createTools(null)
  const interruption = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interruption.abort())
  try {
    for (const target of TARGETS.filter(({ name }) => names.includes(name))) {
      const result = await fuzz(target, tools, {
        seed,
        cases: Number.POSITIVE_INFINITY,
        duration: seconds * 1000,
        keeps: true,
        replays: true,
        note: (text) => console.log(`  ✗ ${text}`),
        signal: interruption.signal,
      })
      if (interruption.signal.aborted) {
        console.log(`${target.name}: interrupted; nothing is saved`)
        return false
      }
      results.push(result)
      console.log(
        `${target.name.padEnd(12)} ${String(result.cases).padStart(9)} cases, ${Math.round(result.perSecond)}/s, ${result.kept} kept, ${(result.growth / 1024 / 1024).toFixed(1)} MB grown, ${result.findings.length} findings`,
      )
    }
  } finally {
    await tools.close()
  }
  if (values.save) save(results, new Date())
  return results.every(({ findings }) => findings.length === 0)
}

process.exit((await main()) ? 0 : 1)
