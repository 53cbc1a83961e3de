import { entryOf } from '../../shared/entry.ts'
import type { Target } from './provider.ts'

/** Families of objects with an API of OpenAI's shape: the first word of their paths. */
export type ObjectFamily =
  | 'files'
  | 'batches'
  | 'fine_tuning'
  | 'vector_stores'
  | 'assistants'
  | 'threads'
  | 'containers'
  | 'videos'

const ALL: readonly ObjectFamily[] = [
  'files',
  'batches',
  'fine_tuning',
  'vector_stores',
  'assistants',
  'threads',
  'containers',
  'videos',
]
const FILES_AND_BATCHES: readonly ObjectFamily[] = ['files', 'batches']

/** Providers whose objects are OpenAI's; all else has no such API, or one of its own shape. Checked 2026-11. */
const SERVED: Readonly<Record<string, readonly ObjectFamily[]>> = {
  openai: ALL,
  azure: ALL,
  custom_openai: ALL,
  openai_like: ALL,
  litellm_proxy: ALL,
  hosted_vllm: FILES_AND_BATCHES,
  groq: FILES_AND_BATCHES,
  nebius: FILES_AND_BATCHES,
  mistral: ['files'],
  moonshot: ['files'],
  manus: ['files'],
}

/** Whether a provider has objects of this family in OpenAI's shape. */
export function servesObjects(provider: string, family: ObjectFamily): boolean {
  return entryOf(SERVED, provider)?.includes(family) === true
}

/** The date of Azure's API whose files, batches, assistants and vector stores are as here. */
const AZURE_VERSION = '2024-10-21'

/** Absolute address of `path` (`/files/file-1`), without a query but Azure's own. */
export function objectUrl(target: Target, path: string): URL {
  const url = new URL(target.base)
  if (target.provider !== 'azure') {
    url.pathname = url.pathname.replace(/\/+$/, '') + path
    return url
  }
  const root = url.pathname.replace(/\/openai(?:\/.*)?$|\/+$/, '')
  const version = url.searchParams.get('api-version') ?? target.apiVersion ?? AZURE_VERSION
  const undated = /\/openai\/v1(?:\/|$)/.test(url.pathname) || !/^\d{4}-/.test(version)
  url.pathname = `${root}/openai${undated ? '/v1' : ''}${path}`
  if (!undated) url.searchParams.set('api-version', version)
  else if (version === 'preview' || version === 'latest') url.searchParams.set('api-version', 'preview')
  else url.searchParams.delete('api-version')
  return url
}

const MESSAGE_BATCHES: ReadonlySet<string> = new Set(['anthropic'])

/** Whether a provider takes Anthropic's message batches. */
export function servesMessageBatches(provider: string): boolean {
  return MESSAGE_BATCHES.has(provider)
}

/** Where message batches are, and what each request to them must say. */
export function messageBatchAddress(target: Target, rest: string): { url: string; headers: Record<string, string> } {
  return {
    url: `${target.base.replace(/\/v\d+$/, '')}/v1/messages/batches${rest}`,
    headers: { 'anthropic-version': '2023-06-01' },
  }
}
