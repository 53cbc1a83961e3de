// npm running on Node 20 silently skips an optional package whose `engines` ask for 22 or later, even though the
// binary inside does not care (the NATS server package is one). Removing `engines` from such lock entries keeps them
// installed. Run after every relock; deploy/tests/packages.test.ts fails when an entry came back.
import fs from 'node:fs'

const file = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(fs.readFileSync(file, 'utf8'))
for (const entry of Object.values(lock.packages)) {
  if (entry.optional && entry.os && entry.engines) delete entry.engines
}
fs.writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
