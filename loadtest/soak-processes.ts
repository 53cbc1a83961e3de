import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { type NameOf, processTree, readMemory } from './cpu.ts'

/** What one process (all of PostgreSQL's count as one) holds, from Linux's `/proc`. */
export interface Held {
  pids: number[]
  /** CPU microseconds since its start. */
  cpu: number
  /** Bytes of memory that are its own and of no file: heaps, stacks, buffers. What a leak grows; PostgreSQL's shared cache is not in it. */
  anonymous: number
  /** Bytes resident, shared pages divided. */
  pss: number
  /** Open files and sockets. */
  files: number
  /** Established TCP connections among these. */
  connections: number
  /** Ports it listens on. */
  ports: number[]
  /** Node runs in it. */
  script: boolean
}

const ESTABLISHED = '01'
const LISTENING = '0A'

/** Everything under `pids`, by name; processes of one kind are told apart by the folder they were given (`router-0`). */
export function readHeld(pids: readonly number[], nameOf: NameOf): Map<string, Held> {
  const sockets = tcpSockets()
  const found = new Map<string, Held>()
  for (const sample of pids.flatMap((pid) => processTree(pid))) {
    const { pid, cpu, command } = sample
    const name = ownName(pid) ?? nameOf(sample)
    const held = found.get(name) ?? {
      ...{ pids: [], cpu: 0, anonymous: 0, pss: 0, files: 0, connections: 0, ports: [] },
      script: /^\S*node(-\S*)? /.test(command),
    }
    held.pids.push(pid)
    held.cpu += cpu
    held.anonymous += anonymousOf(pid)
    held.pss += readMemory(pid).pss
    for (const link of openFiles(pid)) {
      held.files += 1
      const socket = sockets.get(link)
      if (socket?.state === ESTABLISHED) held.connections += 1
      if (socket?.state === LISTENING) held.ports.push(socket.port)
    }
    found.set(name, held)
  }
  return found
}

/** `router-0` for a process of a cluster, from the folder in its environment. */
function ownName(pid: number): string | null {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'latin1')
    return /(?:^|\0)TURNPIKE_DATA=[^\0]*\/((?:edge|router|accounting)-\d+)\0/.exec(environment)?.[1] ?? null
  } catch {
    return null
  }
}

function anonymousOf(pid: number): number {
  try {
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}

/** What each descriptor points to, `socket:[12345]` for sockets. */
function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((name) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${name}`)]
      } catch {
        return []
      }
    })
  } catch {
    return []
  }
}

/** Every TCP socket of this machine by what `/proc/<pid>/fd` calls it (proc_net_tcp in the kernel's documentation). */
function tcpSockets(): Map<string, { state: string; port: number }> {
  const sockets = new Map<string, { state: string; port: number }>()
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    let lines: string[]
    try {
      lines = readFileSync(file, 'latin1').split('\n').slice(1)
    } catch {
      continue
    }
    for (const line of lines) {
      const fields = line.trim().split(/\s+/)
      const [, local = '', , state = ''] = fields
      if (fields.length > 9) sockets.set(`socket:[${fields[9]}]`, { state, port: Number.parseInt(local.split(':')[1] ?? '', 16) })
    }
  }
  return sockets
}
