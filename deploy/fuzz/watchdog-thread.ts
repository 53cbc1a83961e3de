// The thread of watchdog.ts.
import { writeSync } from 'node:fs'
import process from 'node:process'
import { workerData } from 'node:worker_threads'
import { keepCase } from './corpus.ts'
import { decodeCase } from './target.ts'

const { shared, name, limit } = workerData as { shared: SharedArrayBuffer; name: string; limit: number }
const counts = new Int32Array(shared, 0, 2)
let [seen, since] = [-1, Date.now()]
setInterval(() => {
  const count = Atomics.load(counts, 0)
  if (count !== seen) [seen, since] = [count, Date.now()]
  // Odd: a case runs.
  if (count % 2 === 0 || Date.now() - since < limit) return
  const file = keepCase(name, decodeCase(Buffer.from(new Uint8Array(shared, 8, counts[1]))))
  writeSync(2, `${name}: a case hangs; it is kept as corpus/${name}/${file}\n`)
  process.kill(process.pid, 'SIGKILL')
}, 1000)
