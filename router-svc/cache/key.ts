import { hash } from 'node:crypto'
import type { CacheSettings } from '../../proto/routing.ts'
import { canonicalJson } from '../../shared/config/canonical-json.ts'
import { OPENAI_PARAMS } from '../../shared/config/known.ts'
import type { Call } from '../call.ts'
import { isGatewayField } from '../canonical/gateway-fields.ts'
import { isUploadedFile } from '../canonical/uploaded-file.ts'

/** Raised when keys are made differently. */
const VERSION = 1

/** What is asked of, rather than how. */
const INPUTS: ReadonlySet<string> = new Set(['messages', 'prompt', 'input'])
/** Not part of what is asked: a stream and a whole answer are made of the same; `model` is replaced by its group. */
const UNKEYED: ReadonlySet<string> = new Set(['model', 'stream', 'stream_options', 'metadata'])
/** Fields for the gateway that change the answer. */
const KEYED_GATEWAY_FIELDS: ReadonlySet<string> = new Set([
  'anthropic',
  'gemini',
  'drop_params',
  'additional_drop_params',
  'allowed_openai_params',
  'modify_params',
  'merge_reasoning_content_in_choices',
  'prompt_id',
  'prompt_variables',
  'prompt_version',
  'prompt_label',
  'guardrails',
  'extra_headers',
])

/**
 * The key of a call's answer: a SHA-256 over everything that can change it, and over who may share it; before it the namespace, in the open, as
 * LiteLLM has it. `namespace` null = none.
 */
export function cacheKey(call: Call, settings: CacheSettings, namespace: string | null): string {
  return named(namespace, digest(call, settings, namespace, paramsOf(call, settings)))
}

/** The keys of the items of an embedding call: each is cached for itself. */
export function itemKeys(call: Call, settings: CacheSettings, namespace: string | null, items: readonly unknown[]): string[] {
  const { input: _, ...params } = paramsOf(call, settings)
  const base = digest(call, settings, namespace, params)
  return items.map((item) => named(namespace, hash('sha256', `${base}\n${canonicalJson(item)}`, 'hex')))
}

/**
 * What calls must have in common before their prompts are compared: everything in the key but the words of the conversation. What is no text
 * (images, tool calls) and what the operator of an application says (system messages) must be the same to the letter.
 */
export function partitionOf(call: Call, settings: CacheSettings, namespace: string | null): string {
  const params = paramsOf(call, settings)
  const { messages } = params
  if (Array.isArray(messages)) params['messages'] = messages.map(withoutWords)
  if (typeof params['prompt'] === 'string') params['prompt'] = ''
  return digest(call, settings, namespace, { ...params, similar: true })
}

/** Who shares answers with this caller. */
export function tenantOf({ identity }: Call, tenancy: CacheSettings['tenancy']): string {
  if (tenancy === 'shared') return 'shared'
  if (tenancy === 'tenant') {
    if (identity.teamId !== null) return `team ${identity.teamId}`
    if (identity.userId !== null) return `user ${identity.userId}`
  }
  return `key ${identity.keyHash}`
}

function digest(call: Call, settings: CacheSettings, namespace: string | null, params: Record<string, unknown>): string {
  const scope = [VERSION, tenantOf(call, settings.tenancy), namespace, groupOf(call, settings), call.endpoint.mode]
  // Betas change what a provider does with the same body.
  const beta = call.message.headers['anthropic-beta'] ?? null
  return hash('sha256', `${JSON.stringify([...scope, beta])}\n${canonicalJson(params)}`, 'hex')
}

function named(namespace: string | null, digest: string): string {
  return namespace === null ? digest : `${namespace}:${digest}`
}

/** The model group, or all those it shares its answers with. */
function groupOf(call: Call, settings: CacheSettings): string | string[] {
  return settings.groups.find((group) => group.includes(call.modelGroup)) ?? call.modelGroup
}

/** The parameters that count. A null one is one that is not there. */
function paramsOf(call: Call, settings: CacheSettings): Record<string, unknown> {
  const params: Record<string, unknown> = {}
  const words = WORDS.has(call.endpoint.mode)
  for (const name in call.request) {
    const value = call.request[name]
    // Of files and rankings every field is what is asked of, and none is OpenAI's chat's.
    if (value === null || value === undefined || !counts(name, settings.providerParams || !words)) continue
    params[name] = words ? value : withoutBytes(value)
  }
  // Every request of an Anthropic client has it. Empty, it asks the same as an OpenAI client's, and answers are kept for both.
  if (isEmpty(params['anthropic'])) delete params['anthropic']
  if (isEmpty(params['gemini'])) delete params['gemini']
  return params
}

/** What is asked for in words, by the parameters of chats. */
const WORDS: ReadonlySet<string> = new Set(['chat', 'completion', 'embedding'])

/** Files by their hash: what they are called makes no difference. */
function withoutBytes(value: unknown): unknown {
  if (isUploadedFile(value)) return { sha256: hash('sha256', value.bytes, 'hex') }
  return Array.isArray(value) ? value.map(withoutBytes) : value
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

function counts(name: string, providerParams: boolean): boolean {
  if (UNKEYED.has(name)) return false
  // A made-up answer must not be kept as the answer to the same request without `mock_response`.
  if (INPUTS.has(name) || OPENAI_PARAMS.has(name) || KEYED_GATEWAY_FIELDS.has(name) || name.startsWith('mock')) return true
  return providerParams && !isGatewayField(name)
}

/** A message without the text that may differ. */
function withoutWords(message: unknown): unknown {
  const { role, content, ...rest } = message as { role?: unknown; content?: unknown }
  if (role === 'system' || role === 'developer') return message
  if (!Array.isArray(content)) return { ...rest, role }
  return { ...rest, role, content: content.filter((part) => (part as { type?: unknown }).type !== 'text') }
}
