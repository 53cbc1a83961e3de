import { providerRow } from '../../../shared/catalog/providers.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import type { Adapter, DecodeContext, Provider, Target, UpstreamRequest } from '../provider.ts'
import { ollama } from './index.ts'
import type { Fields } from './wire.ts'

/** The provider as the table makes it, all of its modes there. */
export function provider(name = 'ollama'): Provider & Required<Pick<Provider, 'chat' | 'completion' | 'embedding'>> {
  const row = providerRow(name)
  if (row === undefined) throw new Error(`no row ${name}`)
  return ollama(name, row) as ReturnType<typeof provider>
}

export function target(changes: Partial<Target> = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: 'ollama',
    model: 'qwen3',
    base: 'http://localhost:11434',
    ...changes,
  }
}

export const context = (request: Readonly<Fields> = {}): DecodeContext => ({ id: 'answer', created: 7, model: 'asked', request })

/** The body a mode sends, parsed. */
export function bodyOf({ body }: UpstreamRequest): Fields {
  return JSON.parse(body as string) as Fields
}

export function encodeChat(request: Partial<ChatRequest>, changes: Partial<Target> = {}): Fields {
  const whole: ChatRequest = { model: 'group', messages: [{ role: 'user', content: 'Hi' }], ...request }
  return bodyOf(provider().chat.encodeRequest(whole, target(changes)))
}

export function decoderOf<Chunk>(adapter: Adapter<never, unknown, Chunk>, request: Readonly<Fields> = {}) {
  const decoder = adapter.decodeStream?.(context(request))
  if (decoder === undefined) throw new Error('does not stream')
  return decoder
}

/** Documents as lines on the wire. */
export function lines(...documents: readonly unknown[]): Buffer {
  return Buffer.from(documents.map((document) => `${JSON.stringify(document)}\n`).join(''))
}
