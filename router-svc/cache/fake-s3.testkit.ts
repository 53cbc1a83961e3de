import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface FakeS3 {
  readonly endpoint: string
  readonly objects: Map<string, Buffer>
  /** Status it answers everything with; null = as it should. */
  broken: number | null
  /** Requests it turned away for their signature. */
  readonly refused: string[]
  close(): Promise<void>
}

export const CREDENTIALS = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret/with+signs', sessionToken: 'token' }
export const REGION = 'eu-west-1'
/** Objects of one page of a list. */
const PAGE = 7

/** A bucket on loopback that checks every signature by making it again, as AWS documents it for Signature Version 4. */
export async function startFakeS3(bucket: string): Promise<FakeS3> {
  const objects = new Map<string, Buffer>()
  const refused: string[] = []
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const answer =
        fake.broken !== null ? { status: fake.broken, body: '<Error><Code>SlowDown</Code></Error>' } : handle(request, body)
      response.writeHead(answer.status, { 'content-type': 'application/xml' }).end(answer.body)
    })
  })

  function handle(request: IncomingMessage, body: Buffer): { status: number; body: string | Buffer } {
    const wrong = signatureProblem(request, body)
    if (wrong !== null) {
      refused.push(wrong)
      return { status: 403, body: '<Error><Code>SignatureDoesNotMatch</Code></Error>' }
    }
    const url = new URL(request.url ?? '/', 'http://localhost')
    const path = decodeURIComponent(url.pathname)
    if (!path.startsWith(`/${bucket}/`)) return { status: 404, body: '<Error><Code>NoSuchBucket</Code></Error>' }
    const name = path.slice(bucket.length + 2)
    if (name === '') return list(url)
    if (request.method === 'PUT') objects.set(name, body)
    else if (request.method === 'DELETE') objects.delete(name)
    else return { status: objects.has(name) ? 200 : 404, body: objects.get(name) ?? '<Error><Code>NoSuchKey</Code></Error>' }
    return { status: request.method === 'PUT' ? 200 : 204, body: '' }
  }

  function list(url: URL): { status: number; body: string } {
    const names = [...objects.keys()].filter((name) => name.startsWith(url.searchParams.get('prefix') ?? '')).sort()
    const after = url.searchParams.get('continuation-token') ?? ''
    const page = names.filter((name) => name > after).slice(0, PAGE)
    const last = page[page.length - 1]
    const more = last !== undefined && last !== names[names.length - 1]
    const keys = page.map((name) => `<Contents><Key>${escaped(name)}</Key></Contents>`).join('')
    return {
      status: 200,
      body: `<ListBucketResult>${keys}${more ? `<NextContinuationToken>${escaped(last)}</NextContinuationToken>` : ''}</ListBucketResult>`,
    }
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const fake: FakeS3 = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    objects,
    broken: null,
    refused,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return fake
}

/** What is wrong with the signature of a request; null = nothing. */
function signatureProblem(request: IncomingMessage, body: Buffer): string | null {
  const match = /^AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
    request.headers.authorization ?? '',
  )
  if (match === null) return 'no signature'
  const [, credential = '', signedHeaders = '', signature] = match
  const [accessKeyId, day = '', region = '', service = ''] = credential.split('/')
  if (accessKeyId !== CREDENTIALS.accessKeyId || region !== REGION || service !== 's3') return `credential ${credential}`
  const names = signedHeaders.split(';')
  for (const name of ['host', 'x-amz-content-sha256', 'x-amz-date', 'x-amz-security-token'])
    if (!names.includes(name)) return `${name} is not signed`
  if (request.headers['x-amz-security-token'] !== CREDENTIALS.sessionToken) return 'session token'
  if (request.headers['x-amz-content-sha256'] !== sha256(body)) return 'the hash of the body'
  const [path = '/', query = ''] = (request.url ?? '/').split('?')
  const canonical = [
    request.method,
    path,
    query.split('&').sort().join('&'),
    ...names.map((name) => `${name}:${String(request.headers[name]).trim()}`),
    '',
    signedHeaders,
    sha256(body),
  ].join('\n')
  const scope = `${day}/${region}/s3/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', request.headers['x-amz-date'], scope, sha256(canonical)].join('\n')
  const signingKey = [day, region, 's3', 'aws4_request'].reduce<string | Buffer>(
    (key, part) => hmac(key, part),
    `AWS4${CREDENTIALS.secretAccessKey}`,
  )
  return hmac(signingKey, toSign).toString('hex') === signature ? null : `signature of ${canonical}`
}

function sha256(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}

function hmac(key: string | Buffer, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest()
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts)
}
