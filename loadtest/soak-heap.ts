import { once } from './connection.ts'

/** Milliseconds: a collection of some hundred megabytes while the process serves calls. */
const LIMIT = 20_000

interface Reply {
  id?: number
  result?: { usedSize?: number; totalSize?: number; exceptionDetails?: { text: string } }
  error?: { message: string }
}

/**
 * Bytes of JavaScript heap in use right after a full collection, asked of the process' inspector (`--inspect --expose-gc`). So there is no saw-tooth
 * of garbage in it. Rejects when the inspector does not answer within 20 s.
 */
export async function heapAfterCollection(inspectorUrl: string): Promise<number> {
  const socket = new WebSocket(inspectorUrl)
  const waiting = new Map<number, (reply: Reply) => void>()
  let last = 0
  try {
    return await new Promise<number>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${inspectorUrl} did not answer within ${LIMIT / 1000} s`)), LIMIT)
      const done = (act: () => void): void => {
        clearTimeout(timer)
        act()
      }
      const ask = (method: string, params?: object): Promise<Reply> =>
        new Promise((answer) => {
          last += 1
          waiting.set(last, answer)
          socket.send(JSON.stringify({ id: last, method, params }))
        })
      socket.onmessage = ({ data }) => {
        const reply = JSON.parse(String(data)) as Reply
        if (reply.id !== undefined) waiting.get(reply.id)?.(reply)
      }
      socket.onerror = () => done(() => reject(new Error(`${inspectorUrl} cannot be reached`)))
      socket.onopen = () => {
        void (async () => {
          // One collection. The inspector's own (`HeapProfiler.collectGarbage`) makes up to seven and stops 80 MB for 1.5 s, from which on
          // a router refuses calls.
          const { result: collected } = await ask('Runtime.evaluate', { expression: 'gc()' })
          if (collected?.exceptionDetails !== undefined) throw new Error('the process was started without --expose-gc')
          const { result } = await ask('Runtime.getHeapUsage')
          done(() => (result?.usedSize === undefined ? reject(new Error('no heap usage')) : resolve(result.usedSize)))
        })().catch((thrown: Error) => done(() => reject(thrown)))
      }
    })
  } finally {
    socket.close()
  }
}

/** The inspector behind one of the ports a process listens on; null when none of them is one. */
export async function findInspector(ports: readonly number[]): Promise<string | null> {
  for (const port of ports) {
    try {
      const { status, body } = await once({ origin: `http://127.0.0.1:${port}`, path: '/json/list', method: 'GET' }, 2_000)
      if (status !== 200) continue
      const [target] = JSON.parse(body.toString()) as { webSocketDebuggerUrl?: string }[]
      if (target?.webSocketDebuggerUrl !== undefined) return target.webSocketDebuggerUrl
    } catch {
      // Not an inspector; many ports of a gateway are not even HTTP.
    }
  }
  return null
}
