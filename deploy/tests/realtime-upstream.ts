import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { type WebSocket, WebSocketServer } from 'ws'

/** One session as the provider sees it. */
export interface ProviderSession {
  request: IncomingMessage
  socket: WebSocket
  /** What the client sent: JSON of text, sizes of binary. */
  heard: (Record<string, unknown> | number)[]
  /** Resolves with the close code. */
  closed: Promise<number>
}

export interface RealtimeUpstream {
  url: string
  sessions: ProviderSession[]
  /** The next handshake is answered with this status instead. */
  refuseWith: number | null
  /** Answers of the next responses wait until `release`. */
  holding: boolean
  release(): void
  stop(): Promise<void>
}

/** Usage of every answer, unless the client's event says otherwise. */
export const USAGE = {
  total_tokens: 205,
  input_tokens: 41,
  output_tokens: 164,
  input_token_details: { text_tokens: 14, audio_tokens: 27, cached_tokens: 0 },
  output_token_details: { text_tokens: 28, audio_tokens: 136 },
}

/** A provider that plays OpenAI's realtime protocol: an answer of a few deltas to each `response.create`. */
export async function startRealtimeUpstream(): Promise<RealtimeUpstream> {
  const http: Server = createServer((_request, response) => response.writeHead(404).end())
  const server = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 * 1024 })
  const waiting: (() => void)[] = []
  const upstream: RealtimeUpstream = {
    url: '',
    sessions: [],
    refuseWith: null,
    holding: false,
    release() {
      upstream.holding = false
      for (const go of waiting.splice(0)) go()
    },
    async stop() {
      for (const { socket } of upstream.sessions) socket.terminate()
      server.close()
      http.close()
      http.closeAllConnections()
    },
  }
  http.on('upgrade', (request, connection, head) => {
    const status = upstream.refuseWith
    if (status !== null) {
      upstream.refuseWith = null
      const body = JSON.stringify({
        error: { message: 'no such model here', type: 'invalid_request_error', code: 'model_not_found' },
      })
      connection.end(
        `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
      )
      return
    }
    server.handleUpgrade(request, connection, head, (socket) => serve(request, socket))
  })

  function serve(request: IncomingMessage, socket: WebSocket): void {
    const session: ProviderSession = {
      request,
      socket,
      heard: [],
      closed: once(socket, 'close').then(([code]) => code as number),
    }
    upstream.sessions.push(session)
    const send = (event: object): void => socket.send(JSON.stringify(event))
    send({ type: 'session.created', event_id: 'event_1', session: { id: 'sess_1', model: 'gpt-realtime-2025-08-28' } })
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) {
        session.heard.push(data.length)
        socket.send(data, { binary: true })
        return
      }
      const event = JSON.parse(data.toString()) as Record<string, unknown>
      session.heard.push(event)
      if (event['type'] === 'response.create') answer(event)
      if (event['type'] === 'response.cancel') done('cancelled', { input_tokens: 10, output_tokens: 3, total_tokens: 13 })
    })
    const done = (status: string, usage: unknown): void =>
      send({ type: 'response.done', event_id: 'event_9', response: { id: 'resp_1', status, usage, output: [] } })
    const answer = (event: Record<string, unknown>): void => {
      const play = (event['play'] ?? {}) as { delta?: number; usage?: unknown; transcribe?: boolean }
      send({ type: 'response.created', event_id: 'event_2', response: { id: 'resp_1', status: 'in_progress' } })
      const rest = (): void => {
        if (play.transcribe === true) {
          send({ type: 'session.updated', session: { audio: { input: { transcription: { model: 'gpt-4o-mini-transcribe' } } } } })
          send({
            type: 'conversation.item.input_audio_transcription.completed',
            item_id: 'item_1',
            transcript: 'hello',
            usage: {
              type: 'tokens',
              total_tokens: 30,
              input_tokens: 26,
              input_token_details: { text_tokens: 0, audio_tokens: 26 },
              output_tokens: 4,
            },
          })
        }
        send({ type: 'response.output_text.delta', event_id: 'event_3', delta: 'hello ' })
        send({ type: 'response.output_audio.delta', event_id: 'event_4', delta: 'A'.repeat(play.delta ?? 4_000) })
        send({ type: 'response.output_text.done', event_id: 'event_5', text: 'hello "response.done"' })
        done('completed', play.usage ?? USAGE)
      }
      if (upstream.holding) waiting.push(rest)
      else rest()
    }
  }

  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  upstream.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  return upstream
}

/** TLS in front of a port of this machine, with a certificate nobody signed. */
export async function startTlsFront(target: number): Promise<{ port: number; stop(): void }> {
  const folder = mkdtempSync(join(tmpdir(), 'front-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  execFileSync('openssl', [...made, '-keyout', key, '-out', cert, '-subj', '/CN=127.0.0.1'], { stdio: 'ignore' })
  const open = new Set<TLSSocket>()
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
    open.add(socket)
    const behind = connect(target, '127.0.0.1')
    socket.pipe(behind).pipe(socket)
    socket.on('error', () => behind.destroy()).on('close', () => open.delete(socket))
    behind.on('error', () => socket.destroy()).on('close', () => socket.destroy())
  })
  rmSync(folder, { recursive: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    stop() {
      server.close()
      for (const socket of open) socket.destroy()
    },
  }
}
