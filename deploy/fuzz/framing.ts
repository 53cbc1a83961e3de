import { ENDPOINTS, type Mode } from '../../proto/endpoints.ts'
import { rawFrame } from '../../router-svc/aws-event-stream.testkit.ts'
import { dialects } from '../../router-svc/dialects/index.ts'
import { createProviders } from '../../router-svc/providers/index.ts'
import type { Adapter, DecodeContext, Provider, StreamDecoder } from '../../router-svc/providers/provider.ts'
import { ChunkEncoder, TranslatingReader } from '../../router-svc/read-stream.ts'
import { PROVIDERS } from '../../shared/catalog/providers.ts'
import { GatewayError, toGatewayError } from '../../shared/errors.ts'
import { type Answer, answers } from './answers.ts'
import { createRandom, cutAtRandom, mutateBytes, mutateJson, type Random } from './mutate.ts'
import { processMemory } from './process-memory.ts'
import type { Case, Session, Target } from './target.ts'

type AnyAdapter = Adapter<Record<string, unknown>, unknown, unknown>

/** What an answer is read as: whose, of which mode, in which framing, for which client, and how the network cut it. */
interface Head {
  provider: string
  model: string
  mode: Answer['mode']
  stream: Answer['stream']
  headers: Readonly<Record<string, string>>
  dialect: keyof typeof dialects
  cuts: number
}

/** Every provider's decoders, fed mutated answers: its own, and those of other providers in the same framing. */
export const framing: Target = {
  name: 'framing',
  about: "every adapter's answer and stream decoders, and the framings below them: SSE, lines, AWS's event streams",
  deadline: 10_000,
  inProcess: true,
  memoryLimit: 64 * 1024 * 1024,
  async open(): Promise<Session> {
    const providers = createProviders()
    const seeds = answers()
    const names = readers(Object.keys(PROVIDERS).flatMap((name) => providers.get(name) ?? []))
    return {
      make: (random) => makeCase(seeds, names, random),
      run: async (one) => run((name) => providers.get(name), one),
      memory: processMemory,
      check: async () => [],
      close: async () => undefined,
    }
  },
}

/** Names of the providers that read a mode. */
function readers(providers: readonly Provider[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>()
  for (const provider of providers) {
    if (provider.local === true) continue
    for (const mode of [...new Set<Answer['mode']>([...ENDPOINTS.map((row) => row.mode), 'responses'])]) {
      const adapter = provider[mode as 'chat']
      if (adapter === undefined) continue
      const framingOf = adapter.decodeStream === undefined ? [] : [`${mode} ${adapter.framing ?? 'sse'}`]
      for (const kind of [`${mode} null`, ...framingOf]) found.set(kind, [...(found.get(kind) ?? []), provider.name])
    }
  }
  return found
}

function makeCase(seeds: readonly Answer[], names: ReadonlyMap<string, readonly string[]>, random: Random): Case {
  const { body, ...answer } = random.pick(seeds)
  const others = names.get(`${answer.mode} ${answer.stream}`) ?? []
  const provider = random.chance(0.6) || others.length === 0 ? answer.provider : random.pick(others)
  const mode: Mode = answer.mode === 'responses' ? 'chat' : answer.mode
  const fitting = ENDPOINTS.filter((row) => row.mode === mode).map(({ dialect }) => dialect)
  const head: Head = {
    ...answer,
    provider,
    headers: headersOf(answer.headers),
    dialect: random.pick(fitting),
    cuts: random.int(1000),
  }
  return { head: { ...head }, body: mutated(answer.stream, body, random) }
}

/** Those that decide how an answer is read. */
function headersOf(headers: Readonly<Record<string, string>>): Record<string, string> {
  const type = headers['content-type']
  return type === undefined ? {} : { 'content-type': type }
}

function mutated(stream: Answer['stream'], body: Uint8Array, random: Random): Uint8Array {
  if (random.chance(0.1)) return body.subarray(0, random.int(body.length))
  if (random.chance(0.25)) return mutateBytes(body, random)
  const text = Buffer.from(body).toString('utf8')
  switch (stream) {
    case 'sse':
      return events(text.split(/(?<=\n\r?\n)/), /^data: ?(.*)$/m, random)
    case 'lines':
      return events(text.split(/(?<=\n)/), /^(.*)$/m, random)
    case 'aws':
      return frames(Buffer.from(body), random)
    case null:
      return changed(text, random)
  }
}

/** JSON changed in its structure; other text in its bytes. */
function changed(text: string, random: Random): Uint8Array {
  try {
    return mutateJson(JSON.parse(text), random)
  } catch {
    return mutateBytes(Buffer.from(text), random)
  }
}

/** Events left out, repeated, moved, and changed in their data. */
function events(list: string[], data: RegExp, random: Random): Uint8Array {
  const made = list.map((event) => Buffer.from(event) as Uint8Array)
  const at = random.int(list.length)
  switch (random.int(6)) {
    case 0:
      made.splice(at, 1)
      break
    case 1:
      made.splice(at, 0, made[random.int(made.length)] as Uint8Array)
      break
    case 2:
      made.push(...made.splice(at, 1))
      break
    default: {
      const event = list[at] as string
      const found = data.exec(event)
      if (found === null) break
      const json = Buffer.from(changed(found[1] as string, random))
        .toString('utf8')
        .replaceAll('\n', ' ')
      made[at] = Buffer.from(event.replace(found[1] as string, () => json))
    }
  }
  return Buffer.concat(made)
}

/** Frames left out and moved; payloads and headers changed, with checksums that fit: a wrong one is found before anything is read. */
function frames(bytes: Buffer, random: Random): Uint8Array {
  const made: { headers: Buffer; payload: Buffer }[] = []
  for (let at = 0; at + 16 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at)
    const headers = bytes.readUInt32BE(at + 4)
    made.push({
      headers: bytes.subarray(at + 12, at + 12 + headers),
      payload: bytes.subarray(at + 12 + headers, at + length - 4),
    })
    at += length
  }
  const at = random.int(made.length)
  const frame = made[at]
  if (frame === undefined) return bytes
  switch (random.int(5)) {
    case 0:
      made.splice(at, 1)
      break
    case 1:
      made.push(...made.splice(at, 1))
      break
    case 2:
      frame.headers = Buffer.from(mutateBytes(frame.headers, random))
      break
    default:
      frame.payload = Buffer.from(changed(frame.payload.toString('utf8'), random))
  }
  return Buffer.concat(made.map(({ headers, payload }) => rawFrame(headers, payload)))
}

/** Something that ends an answer in one protocol or another: without any of it no stream is whole. */
const TERMINATOR =
  /\[DONE\]|stop|finish|"done"|complete|failed|message-end|is_?end|"end"|eos|status|"generated_text"|"output"|"text"/i

/** Bytes as text, and what they hold in base64. */
function readable(body: Uint8Array): string {
  const text = Buffer.from(body).toString('latin1')
  return (
    text +
    [...text.matchAll(/"bytes": ?"([^"]*)/g)]
      .map(([, inner]) => Buffer.from(inner as string, 'base64').toString('latin1'))
      .join('')
  )
}

function run(providerOf: (name: string) => Provider | undefined, { head, body }: Case): string | null {
  const { provider: name, model, mode, stream, headers, dialect: dialectName, cuts } = head as unknown as Head
  const asked = providerOf(name)
  const provider = asked?.serve?.(model, { baseModel: null, settings: {}, info: {} } as never)?.provider ?? asked
  const adapter = provider?.[mode as 'chat'] as unknown as AnyAdapter | undefined
  if (provider === undefined || adapter === undefined) return null
  const request = { model, messages: [], prompt: 'a', input: 'a', query: 'a', documents: ['a', 'b'], stream: stream !== null }
  const context: DecodeContext = { id: 'fuzzed', created: 1, model, request }
  const dialect = dialects[dialectName]
  try {
    // Refusals are read where nothing else would tell what the provider said.
    provider.decodeError(400 + (cuts % 130), headers, Buffer.from(body).toString('utf8'))
  } catch (error) {
    return `${name}, a refusal: ${stackOf(error)}`
  }
  try {
    if (stream === null) {
      dialect.encodeResponse(adapter.decodeResponse(body, headers, context), 'asked', request)
      return null
    }
    const decoder = decoderOf(adapter, context)
    if (decoder === null) return null
    const encoder = new ChunkEncoder(dialect.encodeStream({ model: 'asked', includeUsage: true }))
    const reader = new TranslatingReader(decoder, encoder, adapter.framing)
    try {
      for (const piece of cutAtRandom(body, createRandom(cuts))) {
        if (reader.done) break
        reader.push(piece)
        reader.usage()
      }
      if (!reader.done) reader.finish()
      reader.usage()
      reader.last()
    } catch (error) {
      // What no decoder foresaw is told as `provider_malformed` (attempt-result.ts), and after it the stream has an error event like any other.
      reader.errorEvent(toGatewayError(error))
      reader.usage()
      return unforeseen(name, mode, error)
    }
    const isWhole = adapter.framing === 'raw' || TERMINATOR.test(readable(body))
    return isWhole ? null : `${name} ${mode}: a stream without any terminator is a success`
  } catch (error) {
    return stream === null
      ? unforeseen(name, mode, error)
      : `${name} ${mode} for ${dialectName}, its error event: ${stackOf(error)}`
  }
}

/** Null where it has none, or has it only in the middle of a conversation of requests. */
function decoderOf(adapter: AnyAdapter, context: DecodeContext): StreamDecoder<unknown> | null {
  try {
    return adapter.decodeStream?.(context) ?? null
  } catch (error) {
    if (error instanceof GatewayError) return null
    throw error
  }
}

/**
 * Whether a throw is one the router makes an error of the provider's: its readers trust that a list is a list, and the router takes a TypeError
 * for an answer that is not what its protocol says. Anything else is a fault of ours.
 */
function unforeseen(name: string, mode: string, error: unknown): string | null {
  const isTold = error instanceof GatewayError || error instanceof TypeError || error instanceof RangeError
  return isTold ? null : `${name} ${mode}: ${stackOf(error)}`
}

function stackOf(error: unknown): string {
  return String((error as Error).stack).slice(0, 500)
}
