import type { Endpoint } from './endpoints.ts'

/** Who knows a family of carried endpoints: one file each in router-svc/carried. */
export type CarrierName = 'pass-through' | 'configured' | 'realtime-sessions' | 'responses' | 'objects' | 'message-batches'

/**
 * An endpoint whose calls are carried to a provider in the provider's own words: no model speaks, or the client wants that very provider.
 * Limits, budgets and the bill hold as for any call; there is no translation and no fallback.
 */
export interface CarriedEndpoint {
  /** Name in the ledger's `call_type`. */
  name: string
  methods: readonly string[]
  /** With `/v1`, also served without it. `{id}` takes one segment; `{rest}` at the end takes all that is left, slashes and nothing included. */
  path: string
  carrier: CarrierName
  /** The dialect whose error form clients of this path expect. */
  dialect: Endpoint['dialect']
  /** Groups of routes a key's `allowed_routes` may name (surface reference §0.1). */
  groups: readonly string[]
  /** Where clients of this path put their key, beside the headers of every path: the parameter `key`, or the name of Basic authorization. */
  keyIn?: 'query' | 'basic'
}

/** One of `general_settings.pass_through_endpoints` (surface reference §4.5). */
export interface ConfiguredEndpoint {
  id: string
  /** Without a slash at its end. */
  path: string
  /** Absolute address. */
  target: string
  /** Sealed values, names lower case. */
  headers: Record<string, string>
  /** What lies below the path leads below the target. */
  subpaths: boolean
  /** Nano-dollars a request costs; 0 = what its usage does, where it is known. */
  cost: number
  /** A key of ours is needed. */
  auth: boolean
  /** Where the key is, when not in the headers of every path: another header, or the name of Basic authorization. */
  keyHeader: string | null
  keyIn: 'basic' | null
  forwardHeaders: boolean
  mergeQuery: boolean
  query: Record<string, string>
  /** Null = any. */
  methods: string[] | null
}

/** What a carried call says beside its body. */
export interface CarriedCall {
  method: string
  /** As sent, percent-encoding kept. */
  path: string
  /** As sent, without the question mark and without credentials. */
  query: string
  /** What `{name}` in the endpoint's path stands for, decoded. */
  params: Record<string, string>
  /** The client proves itself to the provider: its credentials are among the headers, and ours stay here. */
  ownCredentials?: true
}

const MAPPED = ['mapped_pass_through_routes', 'llm_api_routes'] as const
const ANY = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

function passThrough(
  prefix: string,
  dialect: Endpoint['dialect'] = 'openai-chat',
  keyIn?: CarriedEndpoint['keyIn'],
): CarriedEndpoint {
  return {
    ...(keyIn === undefined ? {} : { keyIn }),
    name: 'pass_through_endpoint',
    methods: ANY,
    path: `/${prefix}/{rest}`,
    carrier: 'pass-through',
    dialect,
    groups: MAPPED,
  }
}

const OPENAI = ['openai_routes', 'llm_api_routes'] as const
const ANTHROPIC = ['anthropic_routes', 'llm_api_routes'] as const

/** What is done with responses of the Responses API beside making them, below each path it is served at. */
function responses(root: string): CarriedEndpoint[] {
  const row = (name: string, method: string, path: string): CarriedEndpoint => ({
    name,
    methods: [method],
    path: root + path,
    carrier: 'responses',
    dialect: 'openai-responses',
    groups: OPENAI,
  })
  return [
    row('acompact_responses', 'POST', '/compact'),
    row('aresponses_input_tokens', 'POST', '/input_tokens'),
    row('aget_responses', 'GET', '/{id}'),
    row('adelete_responses', 'DELETE', '/{id}'),
    row('acancel_responses', 'POST', '/{id}/cancel'),
    row('alist_input_items', 'GET', '/{id}/input_items'),
  ]
}

/** Objects at providers with OpenAI's API for them: name in the ledger, method, path below `/v1`. */
const OBJECTS: readonly (readonly [name: string, method: string, path: string])[] = [
  ['acreate_file', 'POST', '/files'],
  ['afile_list', 'GET', '/files'],
  ['afile_retrieve', 'GET', '/files/{id}'],
  ['afile_delete', 'DELETE', '/files/{id}'],
  ['afile_content', 'GET', '/files/{id}/content'],
  ['acreate_batch', 'POST', '/batches'],
  ['alist_batches', 'GET', '/batches'],
  ['aretrieve_batch', 'GET', '/batches/{id}'],
  ['acancel_batch', 'POST', '/batches/{id}/cancel'],
  ['acreate_fine_tuning_job', 'POST', '/fine_tuning/jobs'],
  ['alist_fine_tuning_jobs', 'GET', '/fine_tuning/jobs'],
  ['aretrieve_fine_tuning_job', 'GET', '/fine_tuning/jobs/{id}'],
  ['acancel_fine_tuning_job', 'POST', '/fine_tuning/jobs/{id}/cancel'],
  ['apause_fine_tuning_job', 'POST', '/fine_tuning/jobs/{id}/pause'],
  ['aresume_fine_tuning_job', 'POST', '/fine_tuning/jobs/{id}/resume'],
  ['alist_fine_tuning_events', 'GET', '/fine_tuning/jobs/{id}/events'],
  ['alist_fine_tuning_checkpoints', 'GET', '/fine_tuning/jobs/{id}/checkpoints'],
  ['avector_store_create', 'POST', '/vector_stores'],
  ['avector_store_list', 'GET', '/vector_stores'],
  ['avector_store_retrieve', 'GET', '/vector_stores/{id}'],
  ['avector_store_update', 'POST', '/vector_stores/{id}'],
  ['avector_store_delete', 'DELETE', '/vector_stores/{id}'],
  ['avector_store_search', 'POST', '/vector_stores/{id}/search'],
  ['avector_store_file_create', 'POST', '/vector_stores/{id}/files'],
  ['avector_store_file_list', 'GET', '/vector_stores/{id}/files'],
  ['avector_store_file_retrieve', 'GET', '/vector_stores/{id}/files/{file}'],
  ['avector_store_file_update', 'POST', '/vector_stores/{id}/files/{file}'],
  ['avector_store_file_delete', 'DELETE', '/vector_stores/{id}/files/{file}'],
  ['avector_store_file_content', 'GET', '/vector_stores/{id}/files/{file}/content'],
  ['avector_store_file_batch_create', 'POST', '/vector_stores/{id}/file_batches'],
  ['avector_store_file_batch_retrieve', 'GET', '/vector_stores/{id}/file_batches/{batch}'],
  ['avector_store_file_batch_cancel', 'POST', '/vector_stores/{id}/file_batches/{batch}/cancel'],
  ['avector_store_file_batch_files', 'GET', '/vector_stores/{id}/file_batches/{batch}/files'],
  ['acreate_assistants', 'POST', '/assistants'],
  ['aget_assistants', 'GET', '/assistants'],
  ['aget_assistant', 'GET', '/assistants/{id}'],
  ['aupdate_assistant', 'POST', '/assistants/{id}'],
  ['adelete_assistant', 'DELETE', '/assistants/{id}'],
  ['acreate_thread', 'POST', '/threads'],
  ['arun_thread', 'POST', '/threads/runs'],
  ['aget_thread', 'GET', '/threads/{id}'],
  ['aupdate_thread', 'POST', '/threads/{id}'],
  ['adelete_thread', 'DELETE', '/threads/{id}'],
  ['a_add_message', 'POST', '/threads/{id}/messages'],
  ['aget_messages', 'GET', '/threads/{id}/messages'],
  ['aget_message', 'GET', '/threads/{id}/messages/{message}'],
  ['aupdate_message', 'POST', '/threads/{id}/messages/{message}'],
  ['adelete_message', 'DELETE', '/threads/{id}/messages/{message}'],
  ['arun_thread', 'POST', '/threads/{id}/runs'],
  ['aget_runs', 'GET', '/threads/{id}/runs'],
  ['aget_run', 'GET', '/threads/{id}/runs/{run}'],
  ['aupdate_run', 'POST', '/threads/{id}/runs/{run}'],
  ['acancel_run', 'POST', '/threads/{id}/runs/{run}/cancel'],
  ['asubmit_tool_outputs', 'POST', '/threads/{id}/runs/{run}/submit_tool_outputs'],
  ['aget_run_steps', 'GET', '/threads/{id}/runs/{run}/steps'],
  ['aget_run_step', 'GET', '/threads/{id}/runs/{run}/steps/{step}'],
  ['acreate_container', 'POST', '/containers'],
  ['alist_containers', 'GET', '/containers'],
  ['aretrieve_container', 'GET', '/containers/{id}'],
  ['adelete_container', 'DELETE', '/containers/{id}'],
  ['aupload_container_file', 'POST', '/containers/{id}/files'],
  ['alist_container_files', 'GET', '/containers/{id}/files'],
  ['aretrieve_container_file', 'GET', '/containers/{id}/files/{file}'],
  ['adelete_container_file', 'DELETE', '/containers/{id}/files/{file}'],
  ['aretrieve_container_file_content', 'GET', '/containers/{id}/files/{file}/content'],
  ['avideo_generation', 'POST', '/videos'],
  ['avideo_list', 'GET', '/videos'],
  ['avideo_edit', 'POST', '/videos/edits'],
  ['avideo_extension', 'POST', '/videos/extensions'],
  ['avideo_status', 'GET', '/videos/{id}'],
  ['avideo_delete', 'DELETE', '/videos/{id}'],
  ['avideo_content', 'GET', '/videos/{id}/content'],
  ['avideo_remix', 'POST', '/videos/{id}/remix'],
]

function objects(root: string, of: RegExp = /^/): CarriedEndpoint[] {
  return OBJECTS.filter(([, , path]) => of.test(path)).map(([name, method, path]) => ({
    name,
    methods: [method],
    path: root + path,
    carrier: 'objects',
    dialect: 'openai-chat',
    groups: OPENAI,
  }))
}

/** Anthropic's batches, in its own words. */
function messageBatches(): CarriedEndpoint[] {
  const row = (name: string, method: string, path: string): CarriedEndpoint => ({
    name,
    methods: [method],
    path: `/v1/messages/batches${path}`,
    carrier: 'message-batches',
    dialect: 'anthropic',
    groups: ANTHROPIC,
  })
  return [
    row('acreate_batch', 'POST', ''),
    row('alist_batches', 'GET', ''),
    row('aretrieve_batch', 'GET', '/{id}'),
    row('adelete_batch', 'DELETE', '/{id}'),
    row('acancel_batch', 'POST', '/{id}/cancel'),
    row('aretrieve_batch_results', 'GET', '/{id}/results'),
  ]
}

/** Secrets and calls for sessions that go past the gateway. */
function realtimeSessions(): CarriedEndpoint[] {
  return ['client_secrets', 'calls', 'sessions', 'transcription_sessions'].map((what) => ({
    name: `arealtime_${what}`,
    methods: ['POST'],
    path: `/v1/realtime/${what}`,
    carrier: 'realtime-sessions',
    dialect: 'openai-chat',
    groups: OPENAI,
  }))
}

/** Carried endpoints. A new one is one row here, plus a carrier when nobody knows its family. Dialect endpoints come first. */
export const CARRIED: readonly CarriedEndpoint[] = [
  ...realtimeSessions(),
  ...responses('/v1/responses'),
  ...responses('/openai/v1/responses'),
  ...responses('/openai/responses'),
  ...objects('/v1'),
  ...messageBatches(),
  // Before the provider in the path, whose own files these are.
  passThrough('anthropic', 'anthropic'),
  passThrough('gemini', 'gemini', 'query'),
  passThrough('vertex_ai/discovery', 'gemini'),
  passThrough('vertex_ai', 'gemini'),
  passThrough('vertex-ai', 'gemini'),
  passThrough('bedrock'),
  passThrough('cohere'),
  passThrough('watsonx'),
  passThrough('cursor'),
  passThrough('assemblyai'),
  passThrough('eu.assemblyai'),
  passThrough('langfuse', 'openai-chat', 'basic'),
  passThrough('milvus'),
  ...objects('/{provider}/v1', /^\/(?:files|batches)/),
  passThrough('openai'),
  passThrough('openai_passthrough'),
  passThrough('azure'),
  passThrough('azure_ai'),
  passThrough('mistral'),
  passThrough('vllm'),
]

/** All configured ones: their paths are the operator's (`ConfiguredEndpoint`), and none that a request could have. */
export const CONFIGURED: CarriedEndpoint = {
  name: 'pass_through_endpoint',
  methods: ANY,
  path: '{configured}',
  carrier: 'configured',
  dialect: 'openai-chat',
  groups: MAPPED,
}

/** The carried endpoint of a name and path pattern; undefined for one of a newer edge. */
export function carriedEndpoint(name: string, path: string): CarriedEndpoint | undefined {
  if (path === CONFIGURED.path) return CONFIGURED
  return CARRIED.find((row) => row.name === name && row.path === path)
}

/** The same as the gateway's own code sees endpoints: in no mode of its own, billed as a chat is. */
export function asEndpoint({ name, path, dialect }: CarriedEndpoint): Endpoint {
  return { name, method: 'POST', path, aliases: [], mode: 'chat', dialect, body: 'json' }
}
