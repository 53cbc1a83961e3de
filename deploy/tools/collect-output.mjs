// Read by every Node process of a test run before its own code (NODE_OPTIONS): keeps a copy of whatever it writes to its two outputs, so that
// the run can be searched for secrets (secret-scan.ts). Plain JavaScript: it runs in processes of any age.
import childProcess from 'node:child_process'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'

const directory = process.env['TURNPIKE_TEST_OUTPUT']

if (directory !== undefined && fs.existsSync(directory)) {
  const { writeSync, write } = fs
  const copy = fs.openSync(join(directory, `${process.pid}.out`), 'a', 0o600)
  const keep = (chunk) => {
    try {
      writeSync(copy, typeof chunk === 'string' ? chunk : Buffer.from(chunk))
    } catch {
      // The run is over and its folder gone; the process itself goes on.
    }
  }
  // The logger writes by descriptor, everything else by stream.
  fs.writeSync = (fd, chunk, ...rest) => {
    if (fd === 1 || fd === 2) keep(chunk)
    return writeSync(fd, chunk, ...rest)
  }
  fs.write = (fd, chunk, ...rest) => {
    if (fd === 1 || fd === 2) keep(chunk)
    return write(fd, chunk, ...rest)
  }
  for (const stream of [process.stdout, process.stderr]) {
    const own = stream.write
    stream.write = function (chunk, ...rest) {
      keep(chunk)
      return own.call(this, chunk, ...rest)
    }
  }
  // A child that is given an environment of its own is watched too.
  const passedOn = { NODE_OPTIONS: process.env['NODE_OPTIONS'], TURNPIKE_TEST_OUTPUT: directory }
  const isOptions = (value) => typeof value === 'object' && value !== null && typeof value.env === 'object' && value.env !== null
  const watched = (all) => all.map((value) => (isOptions(value) ? { ...value, env: { ...value.env, ...passedOn } } : value))
  for (const name of ['spawn', 'fork', 'execFile', 'spawnSync', 'execFileSync']) {
    const own = childProcess[name]
    childProcess[name] = (...all) => own(...watched(all))
    const promising = own[promisify.custom]
    if (promising !== undefined) childProcess[name][promisify.custom] = (...all) => promising(...watched(all))
  }
  syncBuiltinESMExports()
}
