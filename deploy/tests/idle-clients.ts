import { fork } from 'node:child_process'
import { connect, type Socket } from 'node:net'

/** Connections of a process of its own: here they would count as the gateway's open files and memory. */
export interface IdleClients {
  /** Connections that had an answer and are open. */
  readonly open: number
  end(): void
}

/** Connections opened at one time: more would fill the backlog of the gateway's listening socket. */
const AT_ONCE = 200
const REQUEST = 'GET /health/liveliness HTTP/1.1\r\nhost: gateway\r\n\r\n'

/** Opens `count` connections, each of which asks once and then says nothing. Resolves when all had their answer; rejects when one had none. */
export async function openIdle(port: number, count: number): Promise<IdleClients> {
  const child = fork(import.meta.filename, [String(port), String(count)])
  let open = 0
  await new Promise<void>((resolve, reject) => {
    child.on('message', (message) => {
      open = Number(message)
      if (open === count) resolve()
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

function openOne(port: number, closed: () => void): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(REQUEST))
    socket.once('data', () => resolve(socket))
    socket.once('error', reject)
    socket.once('close', closed)
  })
}

async function hold(port: number, count: number): Promise<void> {
  let open = 0
  let told = false
  const tell = () => told && process.send?.(open)
  for (let opened = 0; opened < count; opened += AT_ONCE) {
    const batch = Math.min(AT_ONCE, count - opened)
    await Promise.all(
      Array.from({ length: batch }, () =>
        openOne(port, () => {
          open -= 1
          tell()
        }),
      ),
    )
    open += batch
  }
  told = true
  tell()
}

if (process.argv[1] === import.meta.filename) await hold(Number(process.argv[2]), Number(process.argv[3]))
