import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What was asked of a server of the test's. */
export interface Asked {
  method: string
  path: string
  headers: IncomingMessage['headers']
  body: string
}

export interface Answer {
  status?: number
  headers?: Record<string, string>
  body: string
}

/** A server on loopback that answers as told, and remembers what it was asked. */
export async function serverOf(answer: (asked: Asked) => Answer | Promise<Answer>) {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      const one: Asked = { method, path: url, headers, body: Buffer.concat(parts).toString('utf8') }
      asked.push(one)
      void Promise.resolve(answer(one)).then(({ status = 200, headers: own, body }) => {
        response.writeHead(status, { 'content-type': 'application/json', ...own })
        response.end(body)
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  return { asked, host, url: `http://${host}`, close }
}

/** The JSON file of a service account whose tokens come from `tokenUri`, and the key that checks what it signs. */
export function serviceAccountFile(tokenUri: string): { json: Record<string, string>; publicKey: KeyObject } {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const json = {
    type: 'service_account',
    project_id: 'file-project',
    private_key_id: 'key-1',
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    client_email: 'robot@file-project.iam.gserviceaccount.com',
    token_uri: tokenUri,
  }
  return { json, publicKey }
}
