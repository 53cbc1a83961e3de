import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What one request to it was. */
export interface Seen {
  method: string
  path: string
  query: string
  authorization: string
  body: string
}

/** A provider of OpenAI's object APIs, over real HTTP: what is made with one key is found with that key alone. */
export interface ObjectsProvider {
  url: string
  seen: Seen[]
  /** Ends a batch with these lines of output. */
  complete(batchId: string, lines: readonly unknown[]): void
  /** The same for the message batch made last. */
  end(lines: readonly unknown[]): void
  stop(): Promise<void>
}

type Stored = Record<string, unknown>

/** `name` is part of every id, so that a test sees whose it is. */
export async function startObjectsProvider(name: string): Promise<ObjectsProvider> {
  const objects = new Map<string, Stored>()
  const contents = new Map<string, Buffer>()
  const seen: Seen[] = []
  let count = 0
  const make = (prefix: string, object: string, fields: Stored): Stored => {
    count += 1
    const made = { id: `${prefix}${name}${count}`, object, created_at: 1_700_000_000 + count, ...fields }
    objects.set(made.id, made)
    return made
  }
  const file = (bytes: Buffer, filename: string, purpose: string): Stored => {
    const made = make('file-', 'file', { bytes: bytes.length, filename, purpose, status: 'processed' })
    contents.set(made['id'] as string, bytes)
    return made
  }
  const KINDS: Record<string, readonly [prefix: string, object: string]> = {
    batches: ['batch_', 'batch'],
    fine_tuning: ['ftjob-', 'fine_tuning.job'],
    vector_stores: ['vs_', 'vector_store'],
    assistants: ['asst_', 'assistant'],
    threads: ['thread_', 'thread'],
    containers: ['cntr_', 'container'],
    videos: ['video_', 'video'],
  }
  const initial: Record<string, Stored> = {
    batches: { status: 'validating', output_file_id: null, error_file_id: null },
    fine_tuning: { status: 'queued', result_files: [] },
  }

  const server = createServer((request, response) => {
    void answer(request, response).catch((thrown: Error) => send(response, 500, { error: { message: thrown.message } }))
  })

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const raw = Buffer.concat(parts)
    const url = new URL(request.url ?? '/', 'http://x')
    const isForm = request.headers['content-type']?.startsWith('multipart/') === true
    const { method = '' } = request
    const authorization = request.headers.authorization ?? (request.headers['api-key'] as string | undefined) ?? ''
    seen.push({ method, path: url.pathname, query: url.search, authorization, body: isForm ? '' : raw.toString() })
    const path = url.pathname
      .replace(/^(?:\/openai)?\/v1|^\/openai/, '')
      .split('/')
      .slice(1)
    if (path[0] === 'messages') return messageBatches(method, path, raw, response)
    const form = isForm
      ? await new Response(raw, { headers: { 'content-type': request.headers['content-type'] as string } }).formData()
      : null
    const body = form === null && raw.length > 0 ? (JSON.parse(raw.toString()) as Stored) : {}
    const [family = ''] = path
    const rest = family === 'fine_tuning' ? path.slice(2) : path.slice(1)
    const [id, sub, subId] = rest
    if (family === 'files' && method === 'POST') {
      const upload = form?.get('file') as File
      return send(response, 200, file(Buffer.from(await upload.arrayBuffer()), upload.name, String(form?.get('purpose'))))
    }
    const kind = KINDS[family]
    if (id === undefined && method === 'POST' && kind !== undefined) {
      for (const held of ['input_file_id', 'training_file']) {
        const of = body[held]
        if (typeof of === 'string' && !objects.has(of)) return send(response, 400, { error: { message: `no ${of}` } })
      }
      const fields = form === null ? body : Object.fromEntries([...form].filter(([, value]) => typeof value === 'string'))
      return send(response, 200, make(...kind, { ...initial[family], ...fields }))
    }
    const object = objects.get(id ?? '')
    if (object === undefined)
      return send(response, 404, { error: { message: `No such object: ${id}`, type: 'invalid_request_error' } })
    if (sub === undefined && method === 'DELETE') {
      objects.delete(object['id'] as string)
      return send(response, 200, {
        id: object['id'],
        object: family === 'files' ? 'file' : `${object['object']}.deleted`,
        deleted: true,
      })
    }
    if (sub === undefined) return send(response, 200, Object.assign(object, method === 'POST' ? body : {}))
    if (sub === 'cancel') return send(response, 200, Object.assign(object, { status: 'cancelling' }))
    if (sub === 'content') {
      response.writeHead(200, { 'content-type': 'application/octet-stream' })
      response.end(contents.get(object['id'] as string) ?? '')
      return
    }
    if (sub === 'search') {
      const data = [{ file_id: body['held'] ?? `file-${name}1`, filename: 'a.txt', score: 0.9, attributes: {}, content: [] }]
      return send(response, 200, {
        object: 'vector_store.search_results.page',
        search_query: [body['query']],
        data,
        has_more: false,
      })
    }
    const held = [...objects.values()].filter((one) => one['in'] === `${id}/${sub}`)
    const plain = ({ in: _, ...shown }: Stored): Stored => shown
    if (subId !== undefined) {
      const one = held.find((inner) => inner['id'] === subId)
      return one === undefined ? send(response, 404, { error: { message: 'no such' } }) : send(response, 200, plain(one))
    }
    if (method === 'GET')
      return send(response, 200, {
        object: 'list',
        data: held.map(plain),
        first_id: held[0]?.['id'] ?? null,
        last_id: held.at(-1)?.['id'] ?? null,
        has_more: false,
      })
    const inner = { in: `${id}/${sub}`, ...(family === 'threads' ? { thread_id: id } : { vector_store_id: id }) }
    if (sub === 'runs') {
      const run = make('run_', 'thread.run', { ...inner, ...body, status: 'queued' })
      if (body['stream'] !== true) return send(response, 200, plain(run))
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(`event: thread.run.created\ndata: ${JSON.stringify(plain(run))}\n\nevent: done\ndata: [DONE]\n\n`)
      return
    }
    if (sub === 'files') {
      const made = { ...inner, id: body['file_id'] as string, object: 'vector_store.file', status: 'completed' }
      objects.set(`${id}/${made.id}`, made)
      return send(response, 200, plain(made))
    }
    return send(
      response,
      200,
      plain(
        make('msg_', 'thread.message', {
          ...inner,
          ...body,
          content: [{ type: 'text', text: { value: body['content'], annotations: [] } }],
        }),
      ),
    )
  }

  let batch: Stored = {}
  let lines: readonly unknown[] = []

  /** One message batch at a time. */
  function messageBatches(method: string, path: readonly string[], raw: Buffer, response: ServerResponse): void {
    if (method === 'POST' && path.length === 2) {
      const { requests } = JSON.parse(raw.toString()) as { requests: unknown[] }
      batch = { id: `msgbatch_${name}`, type: 'message_batch', processing_status: 'in_progress', results_url: null }
      batch['request_counts'] = { processing: requests.length }
      send(response, 200, batch)
      return
    }
    if (path[2] !== batch['id']) send(response, 404, { type: 'error', error: { type: 'not_found_error', message: 'no' } })
    else if (path[3] !== 'results') send(response, 200, batch)
    else {
      response.writeHead(200, { 'content-type': 'application/x-jsonl' })
      response.end(lines.map((line) => JSON.stringify(line)).join('\n'))
    }
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    complete(batchId, lines) {
      const output = file(Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n')), 'out.jsonl', 'batch_output')
      Object.assign(objects.get(batchId) as Stored, { status: 'completed', output_file_id: output['id'] })
    },
    end(results) {
      lines = results
      batch = { ...batch, processing_status: 'ended', results_url: `${name}/results` }
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}
