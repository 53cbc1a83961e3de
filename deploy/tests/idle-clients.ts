import { fork } from 'node:child_process'
import { connect } from 'node:net'

/** Connections of a process of its own: here they would count as the gateway's open files and memory. */
export interface IdleClients {
  /** Of all that had an answer, those still open. */
  readonly open: number
  end(): void
}

/** Connections opened at one time: more would fill the backlog of the gateway's listening socket. */
const AT_ONCE = 200
const REQUEST = 'GET /health/liveliness HTTP/1.1\r\nhost: gateway\r\n\r\n'

/** Opens `count` connections, each of which asks once and then says nothing. Resolves when all had their answer. */
export async function openIdle(port: number, count: number): Promise<IdleClients> {
  const child = fork(import.meta.filename, [String(port), String(count)])
  let open = 0
  await new Promise<void>((resolve, reject) => {
    child.on('message', (message) => {
      open = Number(message)
      resolve()
    })
    child.once('exit', () => reject(new Error(`the clients ended with ${open} connections open`)))
  })
  return {
    get open() {
      return open
    },
    end: () => void child.kill('SIGKILL'),
  }
}

/** Resolves when it had its answer; one that was not taken is tried again. */
async function openOne(port: number, closed: () => void): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1', () => socket.write(REQUEST))
    const answered = await new Promise<boolean>((resolve) => {
      socket.once('data', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.once('close', () => resolve(false))
    })
    if (!answered) continue
    if (socket.closed) closed()
    else socket.once('close', closed)
    return
  }
}

async function hold(port: number, count: number): Promise<void> {
  let open = 0
  let isOver = false
  const tell = () => isOver && process.send?.(open)
  const lose = () => {
    open -= 1
    tell()
  }
  for (let opened = 0; opened < count; opened += AT_ONCE) {
    const batch = Math.min(AT_ONCE, count - opened)
    open += batch
    await Promise.all(Array.from({ length: batch }, () => openOne(port, lose)))
  }
  isOver = true
  tell()
  // Until it is ended: how many are open is asked for to the last.
  process.on('message', () => undefined)
}

if (process.argv[1] === import.meta.filename) await hold(Number(process.argv[2]), Number(process.argv[3]))
