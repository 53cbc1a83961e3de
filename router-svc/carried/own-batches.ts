import type { ObjectOwner } from '../../proto/objects.ts'
import { BATCH_ENDPOINTS, OWN, type OwnBatchesAsk, PART_BYTES } from '../../proto/own-batches.ts'
import { GatewayError } from '../../shared/errors.ts'
import { isUploadedFile, type UploadedFile } from '../canonical/uploaded-file.ts'
import { type Fields, isFields } from '../providers/json.ts'
import { servesObjects } from '../providers/object-apis.ts'
import type { Route } from '../runtime.ts'
import { modelsInBatch } from './batch-input.ts'
import type { CarriedAnswer, CarriedIds, CarriedRequest, CarriedTools, Choice, Finder } from './carrier.ts'
import { placeIn } from './ids.ts'
import { eachLine } from './json-lines.ts'
import { idWriter, withOurIds } from './object-ids.ts'

/** A call for a file or batch that the gateway keeps itself. */
export interface OwnChoice extends Choice {
  own: OwnCall
}

type OwnCall =
  | { what: 'upload'; file: UploadedFile; form: Fields; model: string | null }
  | { what: 'create'; fileId: string; body: Fields }
  /** An object in the path: its bare id. */
  | { what: 'file' | 'batch'; id: string }

export function isOwnChoice(choice: Choice): choice is OwnChoice {
  return 'own' in choice
}

/**
 * Whether a call is about a file or batch of the gateway's own: it says so by its id; or the input of a batch is for the gateway itself, or for models whose
 * provider has no batches of OpenAI's form. Null = no. Throws GatewayError.
 */
export async function ownChoice(
  request: CarriedRequest,
  shape: string,
  find: Finder,
  ids: CarriedIds,
): Promise<OwnChoice | null> {
  const { id } = request.params
  if (id !== undefined) {
    if (placeIn(id)?.deploymentId !== OWN) return null
    const object = ids.decode(id)
    const what = shape.startsWith('/files') ? 'file' : 'batch'
    return object === null ? null : choiceOf(find, { what, id: object.id }, null)
  }
  if (request.method !== 'POST') return null
  if (shape === '/batches') {
    const body = request.json() ?? {}
    const sent = body['input_file_id']
    if (typeof sent !== 'string' || placeIn(sent)?.deploymentId !== OWN) return null
    const file = ids.decode(sent)
    return file === null ? null : choiceOf(find, { what: 'create', fileId: file.id, body }, null)
  }
  if (shape !== '/files') return null
  const form = await request.form()
  const file = form?.['file']
  if (form === null || form['purpose'] !== 'batch' || !isUploadedFile(file)) return null
  const routes = await routesOf(request, form, file, find)
  if (routes === null) return null
  return choiceOf(find, { what: 'upload', file, form, model: routes.model }, routes.first)
}

/** Which deployment stands for the call, and the one model that was named for all lines; null = a provider has batches for these models. */
async function routesOf(
  request: CarriedRequest,
  form: Fields,
  file: UploadedFile,
  find: Finder,
): Promise<{ first: Route | null; model: string | null } | null> {
  const query = new URLSearchParams(request.query)
  const said = (name: string): string | null => textOf(form[name]) ?? textOf(query.get(name))
  const { headers, params } = request
  const provider =
    params['provider'] ??
    said('custom_llm_provider') ??
    textOf(query.get('provider')) ??
    textOf(headers['custom-llm-provider']) ??
    textOf(headers['x-litellm-custom-llm-provider'])
  const named = (said('target_model_names') ?? '').split(',').map((name) => name.trim())
  const targets = named.filter((name) => name !== '')
  const model = said('model') ?? textOf(headers['x-litellm-model'])
  if (provider === OWN) return { first: null, model: targets.length === 1 ? (targets[0] ?? null) : model }
  if (targets.length > 0) return without(targets.map(find.byModel), targets.length === 1 ? (targets[0] ?? null) : null)
  if (provider !== null) return without([find.byProvider(provider, 'files_settings')], model)
  if (model !== null) return without(servedOf([model], find), model)
  return without(servedOf(await modelsInBatch(file), find), null)
}

/** Null when every provider there has batches, or nothing is known of any. */
function without(routes: readonly Route[], model: string | null): { first: Route; model: string | null } | null {
  const lacks = routes.find(({ deployment }) => !servesObjects(deployment.provider, 'batches'))
  return lacks === undefined ? null : { first: lacks, model }
}

/** Deployments of those names that are model groups the caller may use; what others are is told where they are asked for. */
function servedOf(names: readonly string[], find: Finder): Route[] {
  return names.flatMap((name) => {
    try {
      return [find.byModel(name)]
    } catch (thrown) {
      if (thrown instanceof GatewayError && (thrown.code === 'unknown_model' || thrown.code === 'no_deployment')) return []
      throw thrown
    }
  })
}

/** The call is admitted and booked as one of a deployment, though none is asked. */
function choiceOf(find: Finder, own: OwnCall, first: Route | null): OwnChoice {
  const route = first ?? find.runtime.routes[0]
  if (route === undefined) throw new GatewayError('no_deployment')
  const name = own.what === 'upload' || own.what === 'file' ? 'files' : 'batches'
  // Nothing of it is paid for: no budget holds anything back.
  return { route: { ...route, prices: null }, model: name, modelGroup: name, own }
}

/** Answers from what accounting keeps. Rejects with GatewayError. */
export async function serveOwn(request: CarriedRequest, { own }: OwnChoice, tools: CarriedTools): Promise<CarriedAnswer> {
  const ask = async (asked: OwnBatchesAsk): Promise<CarriedAnswer> => shown((await tools.objects.own(asked)).object ?? {}, tools)
  switch (own.what) {
    case 'upload':
      return upload(request, own, tools)
    case 'create':
      return ask(createAsked(request, own))
    case 'file':
      if (request.method === 'DELETE') return ask({ ask: 'delete file', id: own.id })
      if (request.pattern.endsWith('/content')) return content(own.id, tools)
      return ask({ ask: 'read file', id: own.id })
    case 'batch':
      return ask({ ask: request.method === 'POST' ? 'cancel batch' : 'read batch', id: own.id })
  }
}

/** An object with the ids its owner gets. */
function shown(object: Fields, tools: CarriedTools): CarriedAnswer {
  const ours = withOurIds(object, idWriter(OWN, tools.ids, new Map()))
  return { kind: 'answer', status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(ours) }
}

async function upload(
  request: CarriedRequest,
  { file, form, model }: OwnCall & { what: 'upload' },
  tools: CarriedTools,
): Promise<CarriedAnswer> {
  const lifetime = lifetimeOf(form['expires_after'], form['expires_after[seconds]'])
  const bytes = model === null ? file.bytes : await askingFor(model, file.bytes)
  const { object } = await tools.objects.own({
    ask: 'begin file',
    owner: ownerOf(request),
    filename: file.name,
    purpose: 'batch',
    bytes: bytes.length,
    lifetime,
  })
  const id = String(object?.['id'])
  for (let part = 0; part * PART_BYTES < bytes.length; part += 1) {
    const piece = bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES)
    await tools.objects.own({ ask: 'put part', id, part, content: piece })
  }
  const ended = await tools.objects.own({ ask: 'end file', id })
  return shown(ended.object ?? {}, tools)
}

/** The lines with one model group in all of them: what was named for the whole file. */
async function askingFor(model: string, bytes: Uint8Array): Promise<Uint8Array> {
  const written: string[] = []
  await eachLine(bytes, (line) => {
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch {
      // What is wrong with it is told of the batch, by its line.
    }
    const body = isFields(value) ? value['body'] : undefined
    written.push(isFields(value) && isFields(body) ? JSON.stringify({ ...value, body: { ...body, model } }) : line)
  })
  return Buffer.from(`${written.join('\n')}\n`)
}

function createAsked(request: CarriedRequest, { fileId, body }: OwnCall & { what: 'create' }): OwnBatchesAsk {
  const { endpoint, completion_window: window, metadata } = body
  if (typeof endpoint !== 'string')
    throw refused(`The field "endpoint" is required: one of ${BATCH_ENDPOINTS.join(', ')}.`, 'endpoint')
  if (typeof window !== 'string') throw refused('The field "completion_window" is required: 24h.', 'completion_window')
  if (metadata != null && !isFields(metadata)) throw refused('metadata must be an object.', 'metadata')
  return {
    ask: 'create batch',
    owner: ownerOf(request),
    fileId,
    endpoint,
    window,
    metadata: metadata ?? null,
    lifetime: lifetimeOf(body['output_expires_after'], undefined),
  }
}

async function content(id: string, tools: CarriedTools): Promise<CarriedAnswer> {
  await tools.objects.own({ ask: 'read file', id })
  let part = 0
  return {
    kind: 'pieces',
    headers: { 'content-type': 'application/octet-stream' },
    async next() {
      const { content: piece } = await tools.objects.own({ ask: 'read part', id, part })
      part += 1
      return piece ?? null
    },
  }
}

/** Seconds OpenAI allows in `expires_after`. */
const EXPIRY_MIN = 3_600
const EXPIRY_MAX = 2_592_000

/** `{anchor: 'created_at', seconds}` in milliseconds; null = not said. */
function lifetimeOf(value: unknown, field: unknown): number | null {
  const said = isFields(value) ? value['seconds'] : field
  if (said === undefined || said === null) return null
  const seconds = Number(said)
  if (Number.isInteger(seconds) && seconds >= EXPIRY_MIN && seconds <= EXPIRY_MAX) return seconds * 1000
  throw refused(`expires_after.seconds must be a whole number from ${EXPIRY_MIN} to ${EXPIRY_MAX}.`, 'expires_after')
}

function ownerOf({ identity }: CarriedRequest): ObjectOwner {
  const { keyHash, keyAlias, userId, teamId, organizationId, projectId } = identity
  return { keyHash, keyAlias, userId, teamId, organizationId, projectId }
}

function textOf(value: unknown): string | null {
  if (Array.isArray(value)) return textOf(value.join(','))
  return typeof value === 'string' && value !== '' ? value : null
}

function refused(text: string, param: string): GatewayError {
  return new GatewayError('bad_request', text, { param })
}
