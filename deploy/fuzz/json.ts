import { type DialectName, ENDPOINTS, type Endpoint } from '../../proto/endpoints.ts'
import { BODIES } from './bodies.ts'
import { type FuzzedGateway, MOCKED, sessionOn, TRANSLATED } from './gateway.ts'
import { mutateBytes, mutateJson, type Random } from './mutate.ts'
import type { Case, Target } from './target.ts'

const DEADLINE = 10_000
const BOUNDARY = 'fuzzed'
const ROWS: readonly Endpoint[] = ENDPOINTS
/** Clients of these get the error forms of other vendors than OpenAI. */
const GOOGLE: ReadonlySet<DialectName> = new Set(['gemini', 'gemini-count', 'gemini-embedding', 'gemini-embedding-batch'])
const ANTHROPIC: ReadonlySet<DialectName> = new Set(['anthropic', 'anthropic-count'])

/** Bodies of every inference endpoint against a running gateway: JSON, and forms where they are taken. */
export const json: Target = {
  name: 'json',
  about: 'JSON bodies and forms of every inference endpoint, answered by the mock and translated for eight providers',
  deadline: DEADLINE,
  inProcess: false,
  memoryLimit: 48 * 1024 * 1024,
  async open({ gateway: started }) {
    const gateway = await started()
    return sessionOn(gateway, { make: makeCase, run: (one) => send(gateway, one) })
  },
}

function makeCase(random: Random): Case {
  const row = random.pick(ROWS)
  const body = random.pick(BODIES[row.name as keyof typeof BODIES])
  const model = random.chance(0.4) ? MOCKED : random.pick(TRANSLATED)
  const path = random.chance(0.85) || row.aliases.length === 0 ? row.path : random.pick(row.aliases)
  const head = { endpoint: row.name, path: path.replace('{model}', encodeURIComponent(model)), type: 'application/json' }
  if (row.body === 'form' && random.chance(0.7)) {
    const form = formOf({ model, ...body }, random)
    const type = random.chance(0.05)
      ? random.pick([
          'multipart/form-data',
          'multipart/form-data; boundary=',
          'multipart/form-data; boundary="',
          `multipart/form-data; boundary=${'b'.repeat(3000)}`,
          'multipart/mixed; boundary=fuzzed',
        ])
      : `multipart/form-data; boundary=${BOUNDARY}`
    return { head: { ...head, type }, body: random.chance(0.6) ? mutateBytes(form, random) : form }
  }
  return { head, body: mutateJson({ model, ...body }, random) }
}

/** The fields as a form, some of them odd. */
function formOf(fields: Readonly<Record<string, unknown>>, random: Random): Uint8Array {
  const parts = Object.entries(fields).flatMap(([name, value]) => {
    if (random.chance(0.05)) return []
    const isFile = typeof value === 'string' && value.startsWith('data:')
    const odd = random.chance(0.1)
      ? random.pick(['__proto__', 'constructor', '', `${name}[]`, `${name}[a][b]`, 'file', 'image[]', '\u0000', 'é"'.repeat(9)])
      : name
    const file =
      isFile || random.chance(0.05)
        ? `; filename="${random.pick(['a.wav', 'a.png', '../../a', '', 'a\u0000.png', 'ü'.repeat(300)])}"\r\ncontent-type: ${random.pick(['audio/wav', 'image/png', 'x', ''])}`
        : ''
    const text =
      typeof value === 'object' && random.chance(0.5)
        ? mutateJson(value, random)
        : Buffer.from(
            isFile
              ? 'RIFF\0\0\0\0WAVEfmt '
              : random.chance(0.1)
                ? random.pick(['', 'null', '-1', '[]', '{"a":', '1e309', 'NaN'])
                : String(value),
          )
    const part = Buffer.concat([
      Buffer.from(`--${BOUNDARY}\r\ncontent-disposition: form-data; name="${odd}"${file}\r\n\r\n`),
      text,
      Buffer.from('\r\n'),
    ])
    return random.chance(0.05) ? Array.from({ length: random.pick([2, 1200]) }, () => part) : [part]
  })
  return Buffer.concat([...parts, Buffer.from(`--${BOUNDARY}--\r\n`)])
}

async function send(gateway: FuzzedGateway, { head, body }: Case): Promise<string | null> {
  const { endpoint, path, type } = head as { endpoint: string; path: string; type: string }
  const { dialect } = ROWS.find(({ name }) => name === endpoint) as Endpoint
  const response = await gateway.ask(path, {
    method: 'POST',
    headers: { 'content-type': type, authorization: `Bearer ${gateway.key}` },
    body: body as Uint8Array<ArrayBuffer>,
    signal: AbortSignal.timeout(DEADLINE - 1000),
  })
  const text = await response.text()
  return (
    gateway.leak(text) ??
    wrongStatus(response.status, text) ??
    wrongForm(dialect, response, text) ??
    gateway.complaints()[0] ??
    null
  )
}

function wrongStatus(status: number, text: string): string | null {
  return status >= 500 || status < 200 || (status >= 300 && status < 400) ? `status ${status}: ${text.slice(0, 300)}` : null
}

/** An error has the form of the client's protocol and says something; a stream ends as its protocol ends streams. */
function wrongForm(dialect: DialectName, { status, headers }: Response, text: string): string | null {
  if (status < 400) return headers.get('content-type')?.startsWith('text/event-stream') ? wrongEnd(dialect, text) : null
  let body: { type?: unknown; error?: { message?: unknown; code?: unknown; type?: unknown; status?: unknown } }
  try {
    body = JSON.parse(text)
  } catch {
    return `an error that is no JSON: ${text.slice(0, 200)}`
  }
  const { error } = body
  if (typeof error?.message !== 'string' || error.message.trim() === '')
    return `an error without a message: ${text.slice(0, 200)}`
  const fits = GOOGLE.has(dialect)
    ? error.code === status && typeof error.status === 'string'
    : ANTHROPIC.has(dialect)
      ? body.type === 'error' && typeof error.type === 'string'
      : error.code === String(status) && typeof error.type === 'string'
  return fits ? null : `an error of status ${status} in another form than ${dialect}'s: ${text.slice(0, 200)}`
}

function wrongEnd(dialect: DialectName, text: string): string | null {
  const fits = GOOGLE.has(dialect)
    ? /"finishReason"|"error"/.test(text)
    : dialect === 'anthropic'
      ? /event: (?:message_stop|error)\n/.test(text)
      : dialect === 'openai-responses'
        ? /event: (?:response\.(?:completed|incomplete|failed)|error)\n/.test(text)
        : /data: \[DONE\]\n|"error"/.test(text)
  return fits ? null : `a stream without its end: …${text.slice(-200)}`
}
