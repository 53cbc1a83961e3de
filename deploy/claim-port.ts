import { createServer } from 'node:net'
import { StartError } from '../shared/start-error.ts'

/**
 * Makes sure that nobody listens where the edge is going to. Its HTTP server shares ports (SO_REUSEPORT), so that it would take half
 * of the other program's connections in silence. Throws StartError.
 */
export async function claimPort({ host, port }: { host: string; port: number }): Promise<void> {
  if (port === 0) return
  await new Promise<void>((resolve, reject) => {
    // A client that is early, such as a probe, must not keep this from closing.
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) => reject(new StartError(explain(error, host, port))))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()))
  })
}

function explain(error: NodeJS.ErrnoException, host: string, port: number): string {
  if (error.code === 'EADDRINUSE')
    return `Port ${port} on ${host} is in use by another program. Stop that, or choose another port (--port or PORT).`
  if (error.code === 'EACCES') return `Port ${port} may not be opened by this account. Choose one above 1023 (--port or PORT).`
  return `Cannot listen on ${host}:${port}: ${error.message}`
}
