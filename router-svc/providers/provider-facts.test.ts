import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { PROVIDERS, type ProviderRow } from '../../shared/catalog/providers.ts'
import { UNAVAILABLE } from '../../shared/catalog/unavailable.ts'
import { haveRecordings } from './openai/recordings.suite.ts'

/** One row of the list of facts that is kept beside the recordings. */
interface Facts {
  slug: string
  family: string
  status: string
  base_url: string
  env: string[]
  endpoints: Record<string, string>
  params: { unsupported: string[]; renamed: Record<string, string> }
}

/** Bases that differ from the list, and why. */
const BASES: Readonly<Record<string, string>> = {
  lm_studio: 'the list says that the operator gives it, and names this as the default',
  novita: 'the newer of the two that the list names',
}

/** Endpoints of the list that a row does not serve, by `provider endpoint`, and why. */
const ENDPOINTS: Readonly<Record<string, string>> = {
  'mistral completions': 'filling in the middle, which is no text completion: text-completion-codestral serves it',
}

/** Variables of the list that hold neither a key nor a base URL, or stand for another product. */
const NOT_READ =
  /^(OPENAI_(ORGANIZATION|PROJECT)|OR_(SITE_URL|APP_NAME)|VERCEL_(SITE_URL|APP_NAME)|MISTRAL_AZURE_.*|FIREWORKS_ACCOUNT_ID)$/

/** Parameters that a row sends although the list would not, by `provider name`, and why. */
const SENT: Readonly<Record<string, string>> = {
  'moonshot tool_choice=required': 'asked for in words instead',
  'moonshot top_k': 'no parameter of OpenAI: who names it means it',
  'perplexity stream_options': 'noStreamOptions',
  'mistral stream_options': 'noStreamOptions',
  'cerebras logprobs': 'documented by the provider since',
  'cerebras top_logprobs': 'documented by the provider since',
  'sambanova reasoning_effort': 'taken by its reasoning models',
}

/** A name the list has for `parallel_tool_calls` of many: no provider but xAI ever had it, and xAI takes OpenAI's. */
const NO_RENAMES = new Set(['parallel_function_calling'])
/** Providers that take the name as it is beside the list's. */
const TAKES_BOTH = new Set(['cerebras max_completion_tokens'])

function covered(row: ProviderRow, slug: string, rule: string): boolean {
  if (`${slug} ${rule}` in SENT) return true
  const name = /^[a-z_]+/.exec(rule)?.[0]
  if (name === 'stream_options') return row.noStreamOptions === true
  return [...(row.unsupported ?? []), ...(row.drop ?? [])].some((own) => /^[a-z_]+/.exec(own)?.[0] === name)
}

describe.skipIf(!haveRecordings())('rows of OpenAI’s protocol and the list of facts', () => {
  const all = haveRecordings()
    ? (JSON.parse(readFileSync(new URL('../../../shared/reference/providers.json', import.meta.url), 'utf8')) as Facts[])
    : []
  const listed = all.filter(({ slug }) => Object.hasOwn(PROVIDERS, slug) && PROVIDERS[slug]?.protocol === 'openai')

  it('agree that there is a row, or a word about why not', () => {
    const missing = all
      .filter(({ family, endpoints }) => family === 'openai' && ('chat' in endpoints || 'completions' in endpoints))
      .map(({ slug }) => slug)
      .filter((slug) => !Object.hasOwn(PROVIDERS, slug) && !Object.hasOwn(UNAVAILABLE, slug))
    expect(missing).toEqual([])
    const ended = all.filter(({ status }) => status === 'shut_down').map(({ slug }) => slug)
    expect(ended.filter((slug) => UNAVAILABLE[slug]?.ended === undefined)).toEqual([])
  })

  it('agree where a request goes', () => {
    for (const { slug, base_url: base } of listed) {
      if (slug in BASES) continue
      expect(PROVIDERS[slug]?.base, slug).toBe(base === '{api_base}' ? null : base)
    }
  })

  it('agree what is served', () => {
    const modes = { chat: 'chat', completions: 'completion', embeddings: 'embedding' } as const
    const differ = listed.flatMap(({ slug, endpoints }) =>
      Object.entries(modes).flatMap(([endpoint, mode]) => {
        if (`${slug} ${endpoint}` in ENDPOINTS || !(endpoint in endpoints)) return []
        return (PROVIDERS[slug]?.modes ?? ['chat']).includes(mode) ? [] : [`${slug} ${endpoint}`]
      }),
    )
    expect(differ).toEqual([])
  })

  it('agree which variables of the environment are read', () => {
    const unread = listed.flatMap(({ slug, env }) => {
      const row = PROVIDERS[slug] as ProviderRow
      const read = [...row.keys, ...(row.bases ?? [])]
      return env.filter((name) => !read.includes(name) && !NOT_READ.test(name)).map((name) => `${slug} ${name}`)
    })
    expect(unread).toEqual([])
  })

  it('agree what is not sent', () => {
    const sent = listed.flatMap(({ slug, params }) =>
      params.unsupported.filter((rule) => !covered(PROVIDERS[slug] as ProviderRow, slug, rule)).map((rule) => `${slug} ${rule}`),
    )
    expect(sent).toEqual([])
    // An exception that is none any more is taken out.
    const rules = new Set(listed.flatMap(({ slug, params }) => params.unsupported.map((rule) => `${slug} ${rule}`)))
    expect(Object.keys(SENT).filter((exception) => !rules.has(exception))).toEqual([])
  })

  it('agree on other names for parameters', () => {
    const differ = listed.flatMap(({ slug, params }) =>
      Object.entries(params.renamed).flatMap(([from, to]) => {
        if (from.includes('.') || NO_RENAMES.has(to) || TAKES_BOTH.has(`${slug} ${from}`)) return []
        const row = PROVIDERS[slug] as ProviderRow
        const own = from === 'max_completion_tokens' && row.maxTokensName === to ? to : row.rename?.[from]
        return own === to ? [] : [`${slug} ${from} → ${to}`]
      }),
    )
    expect(differ).toEqual([])
  })
})
