import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { markdown, type SupportRow, supportTable } from '../tools/support-table.ts'

/** What the documents say of providers is what the code does. */
const REFERENCE = new URL('../../../shared/reference/providers.json', import.meta.url)
const DOCUMENT = new URL('../providers.md', import.meta.url)

const rows = new Map(supportTable().map((row) => [row.provider, row]))

describe('the support table', () => {
  it('is the one in providers.md', () => {
    const document = readFileSync(DOCUMENT, 'utf8')
    const printed = /<!-- table -->\n([\s\S]*?)\n<!-- \/table -->/.exec(document)?.[1]
    expect(printed).toBe(markdown())
  })

  it('has a streamed chat with tools, pictures and JSON where that is the point of the provider', () => {
    for (const provider of ['openai', 'anthropic', 'gemini', 'vertex_ai', 'bedrock', 'azure', 'mistral', 'cohere', 'ollama']) {
      const row = rows.get(provider) as SupportRow
      expect(row.streaming, provider).toBe(true)
      expect([...row.features].sort(), provider).toEqual(['JSON', 'reasoning', 'tools', 'vision'])
    }
  })

  it('tells of what a provider’s own encoder refuses', () => {
    expect(rows.get('perplexity')?.features.has('tools')).toBe(false)
    expect(rows.get('voyage')?.modes.has('chat')).toBe(false)
  })
})

/** False where the reference is not beside the checkout. In CI it must be. */
function haveRecordings(): boolean {
  if (existsSync(REFERENCE)) return true
  if (process.env['CI'] !== undefined) throw new Error('the reference of providers is missing')
  return false
}

interface Known {
  slug: string
  seed_listed: boolean
  status: string
  endpoints: Record<string, string>
}

/** Endpoints of the reference as this table has them. */
const HAS: Readonly<Record<string, (row: SupportRow) => boolean>> = {
  chat: ({ modes }) => modes.has('chat'),
  chat_stream: ({ streaming }) => streaming,
  completions: ({ modes }) => modes.has('completion'),
  embeddings: ({ modes }) => modes.has('embedding'),
  images: ({ modes }) => modes.has('image'),
  images_edits: ({ modes }) => modes.has('image_edit'),
  image_variations: ({ modes }) => modes.has('image_variation'),
  audio_speech: ({ modes }) => modes.has('speech'),
  audio_transcriptions: ({ modes }) => modes.has('transcription'),
  audio_translations: ({ modes }) => modes.has('translation'),
  moderations: ({ modes }) => modes.has('moderation'),
  rerank: ({ modes }) => modes.has('rerank'),
  responses: ({ native }) => native.includes('openai-responses'),
  messages: ({ native }) => native.includes('anthropic'),
  realtime: ({ realtime }) => realtime,
}

/** What the reference has and we do not, by provider and endpoint; with the reason. */
const TRANSLATED = 'its clients are served through the provider’s chat, translated; bytes do not pass'
const LACKING: Readonly<Record<string, string>> = {
  'assemblyai realtime': 'its socket speaks a protocol of its own, which nobody translates yet',
  'auto_router embeddings': 'it picks a model for a chat; its own embeddings are made by the model group it names',
  'azure_ai messages': TRANSLATED,
  'bedrock messages': TRANSLATED,
  'databricks messages': TRANSLATED,
  'deepseek messages': TRANSLATED,
  'fireworks_ai messages': TRANSLATED,
  'github_copilot messages': TRANSLATED,
  'litellm_proxy messages': TRANSLATED,
  'ollama_chat messages': TRANSLATED,
  'openrouter messages': TRANSLATED,
  'snowflake messages': TRANSLATED,
  'vercel_ai_gateway messages': TRANSLATED,
  'vertex_ai messages': TRANSLATED,
  'cloudflare responses': TRANSLATED,
  'databricks responses': TRANSLATED,
  'github_copilot responses': TRANSLATED,
  'huggingface responses': TRANSLATED,
  'openai_like responses': TRANSLATED,
  'perplexity responses': TRANSLATED,
}

describe.skipIf(!haveRecordings())('the reference of providers', () => {
  const known = JSON.parse(readFileSync(REFERENCE, 'utf8')) as Known[]
  const listed = known.filter((provider) => provider.seed_listed)

  it('lists no provider that we neither serve nor say the end of', () => {
    expect(listed.length).toBe(107)
    expect(listed.filter(({ slug }) => !rows.has(slug)).map(({ slug }) => slug)).toEqual([])
  })

  it('has ended services where we say so, and nowhere else', () => {
    const ended = known.filter(({ slug }) => rows.get(slug)?.ended != null && rows.get(slug)?.ended !== 'never')
    expect(ended.map(({ slug }) => slug).sort()).toEqual(
      known
        .filter(({ status }) => status === 'shut_down')
        .map(({ slug }) => slug)
        .sort(),
    )
  })

  it('lists no endpoint of a listed provider that we lack without a reason', () => {
    const lacking = listed.flatMap(({ slug, endpoints }) => {
      const row = rows.get(slug)
      if (row === undefined || row.ended !== null) return []
      return Object.keys(endpoints)
        .filter((endpoint) => HAS[endpoint]?.(row) === false)
        .map((endpoint) => `${slug} ${endpoint}`)
    })
    expect(lacking.filter((name) => !Object.hasOwn(LACKING, name))).toEqual([])
    expect(Object.keys(LACKING).filter((name) => !lacking.includes(name))).toEqual([])
  })
})
