import type { Mode } from '../../proto/endpoints.ts'
import { createProviders } from '../../router-svc/providers/index.ts'
import { PLAIN_TARGET } from '../../router-svc/providers/plain-target.ts'
import type { Adapter, Provider, Target } from '../../router-svc/providers/provider.ts'
import { PROVIDERS } from '../../shared/catalog/providers.ts'
import { UNAVAILABLE } from '../../shared/catalog/unavailable.ts'
import { GatewayError } from '../../shared/errors.ts'

/** What a chat may hold beyond text, each asked of the provider's own encoder: what it refuses it does not support. */
export const CHAT_FEATURES = {
  tools: { tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object', properties: {} } } }] },
  vision: {
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is this?' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } },
        ],
      },
    ],
  },
  JSON: {
    response_format: {
      type: 'json_schema',
      json_schema: {
        name: 'answer',
        schema: { type: 'object', properties: { a: { type: 'string' } }, required: ['a'], additionalProperties: false },
      },
    },
  },
  reasoning: { reasoning_effort: 'low' },
} as const satisfies Record<string, Record<string, unknown>>

export type ChatFeature = keyof typeof CHAT_FEATURES

/** Modes in the order of the table's columns. */
export const MODES = [
  'chat',
  'completion',
  'embedding',
  'image',
  'image_edit',
  'image_variation',
  'speech',
  'transcription',
  'translation',
  'moderation',
  'rerank',
] as const satisfies readonly Mode[]

export interface SupportRow {
  provider: string
  /** Why it cannot be called, and since when; null = it can. */
  ended: string | null
  modes: ReadonlySet<Mode>
  streaming: boolean
  features: ReadonlySet<ChatFeature>
  /** Speaks Anthropic's, Gemini's or OpenAI's Responses protocol itself, so that the bytes of such clients pass. */
  native: readonly string[]
  realtime: boolean
}

/** Models to ask where a provider's protocol depends on the model: one of those it is known for. */
const MODELS: Readonly<Record<string, string>> = {
  bedrock: 'anthropic.claude-sonnet-4-5-20250929-v1:0',
  bedrock_converse: 'anthropic.claude-sonnet-4-5-20250929-v1:0',
  vertex_ai: 'gemini-2.5-pro',
  gemini: 'gemini-2.5-pro',
  anthropic: 'claude-sonnet-4-5',
  openai: 'gpt-5',
  azure: 'gpt-5',
  groq: 'openai/gpt-oss-120b',
  xai: 'grok-4',
}

/** Every provider there is, by name. Pure: asks the adapters, sends nothing. */
export function supportTable(): SupportRow[] {
  const providers = createProviders()
  const rows: SupportRow[] = []
  for (const name of Object.keys(PROVIDERS)) {
    const provider = providers.get(name)
    if (provider === undefined || provider.local === true) continue
    rows.push(rowOf(name, served(provider, MODELS[name] ?? 'model')))
  }
  for (const [provider, { ended }] of Object.entries(UNAVAILABLE)) {
    rows.push({
      provider,
      ended: ended ?? 'never',
      modes: new Set(),
      streaming: false,
      features: new Set(),
      native: [],
      realtime: false,
    })
  }
  return rows.sort((a, b) => (a.provider < b.provider ? -1 : 1))
}

/** As it serves that model. */
function served(provider: Provider, model: string): Provider {
  return provider.serve?.(model, { baseModel: null, settings: {}, info: {} }).provider ?? provider
}

function rowOf(name: string, provider: Provider): SupportRow {
  const { chat } = provider
  const features = (Object.keys(CHAT_FEATURES) as ChatFeature[]).filter(
    (feature) => chat !== undefined && takes(name, provider, chat, feature),
  )
  const protocols = [chat?.protocol, ...('responses' in provider && provider.responses != null ? ['openai-responses'] : [])]
  return {
    provider: name,
    ended: null,
    modes: new Set(MODES.filter((mode) => provider[mode] !== undefined)),
    streaming: [chat, provider.completion].some((adapter) => adapter?.decodeStream !== undefined),
    features: new Set(features),
    native: protocols.filter(
      (protocol): protocol is NonNullable<typeof protocol> => protocol !== undefined && protocol !== 'openai-chat',
    ),
    realtime: 'realtime' in provider && provider.realtime != null,
  }
}

/** Whether the encoder takes a request with this in it. */
function takes(name: string, provider: Provider, chat: NonNullable<Provider['chat']>, feature: ChatFeature): boolean {
  const request = { model: MODELS[name] ?? 'model', messages: [{ role: 'user', content: 'Hello' }], ...CHAT_FEATURES[feature] }
  const target: Target = {
    ...PLAIN_TARGET,
    provider: name,
    model: MODELS[name] ?? 'model',
    base: provider.base ?? 'https://provider.example/v1',
    maxOutputTokens: 4096,
    settings: SETTINGS,
  }
  try {
    begin(chat as unknown as Adapter<Record<string, unknown>, unknown, unknown>, request, target)
    return true
  } catch (thrown) {
    if (thrown instanceof GatewayError && thrown.code !== 'internal') return false
    throw thrown
  }
}

function begin(chat: Adapter<Record<string, unknown>, unknown, unknown>, request: Record<string, unknown>, target: Target): void {
  const context = { id: 'chatcmpl-table', created: 0, model: target.model, request }
  const conversation = chat.converse?.(request, target, context) ?? null
  if (conversation === null) chat.encodeRequest(request, target)
  else conversation.next([])
}

/** What deployments of some providers must say. */
const SETTINGS = {
  vertex_project: 'project',
  vertex_location: 'us-central1',
  project_id: 'project',
  account_id: 'account',
  oci_compartment_id: 'compartment',
}

const NATIVE: Readonly<Record<string, string>> = {
  anthropic: 'Messages',
  'openai-responses': 'Responses',
  gemini: 'generateContent',
}

/** The table as Markdown, its columns aligned as the formatter wants them. */
export function markdown(rows: readonly SupportRow[] = supportTable()): string {
  const features = Object.keys(CHAT_FEATURES) as ChatFeature[]
  const head = ['provider', 'stream', ...features, ...MODES.map((mode) => mode.replace('_', ' ')), 'native', 'realtime']
  const mark = (yes: boolean): string => (yes ? '✓' : '')
  const cells = rows.map((row) => {
    const name = `\`${row.provider}\``
    if (row.ended !== null) {
      const said = row.ended === 'never' ? 'a program of yours' : `service ended ${row.ended}`
      return [name, said, ...head.slice(2).map(() => '')]
    }
    return [
      name,
      mark(row.streaming),
      ...features.map((feature) => mark(row.features.has(feature))),
      ...MODES.map((mode) => mark(row.modes.has(mode))),
      row.native.map((protocol) => NATIVE[protocol] ?? protocol).join(', '),
      mark(row.realtime),
    ]
  })
  const widths = head.map((name, column) => Math.max(name.length, ...cells.map((row) => (row[column] as string).length)))
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] as number)).join(' | ')} |`
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...cells.map(line)].join('\n')
}
