import { GatewayError } from '../../shared/errors.ts'
import { isUploadedFile } from '../canonical/uploaded-file.ts'
import type { Fields } from '../providers/json.ts'
import { type FormPart, multipart } from '../providers/multipart.ts'
import { type ObjectFamily, servesObjects } from '../providers/object-apis.ts'
import type { Route } from '../runtime.ts'
import { modelsInBatch } from './batch-input.ts'
import type { CarriedIds, CarriedRequest, Choice, Finder, ObjectName } from './carrier.ts'
import { partsOf, UNIFIED, withReferences } from './object-ids.ts'

/** A call for objects, read. */
export interface ObjectCall {
  family: ObjectFamily
  /** Below the version, as in the endpoint table (`/files/{id}`). */
  shape: string
  /** The same with the provider's ids. */
  path: string
  query: URLSearchParams
  /** A JSON body with the provider's ids, or the fields of a form. */
  json: Fields | null
  form: Fields | null
  /** The model group that was named and found. */
  model: string | null
  /** Ids as they were sent, by the provider's. */
  sent: Map<string, string>
  /** The object in the path; null = none. */
  object: ObjectName | null
  /** All files an id in the path stands for. */
  parts: { route: Route; id: string }[]
  /** Models that the lines of a batch's input ask for, by what they are called there; null = not found here, the provider may know it. */
  lines: Map<string, Route | null>
  /** All model groups an upload is for; none = the chosen deployment. */
  targets: { model: string; route: Route }[]
}

export interface ObjectChoice extends Choice {
  call: ObjectCall
}

/** Fields of requests that are for us. `model` counts where the provider's API has one. */
const OURS: ReadonlySet<string> = new Set([
  'custom_llm_provider',
  'target_model_names',
  'litellm_metadata',
  'litellm_session_id',
  'litellm_trace_id',
  'provider',
  'num_retries',
  'tags',
])
const WITH_MODEL: ReadonlySet<ObjectFamily> = new Set(['fine_tuning', 'assistants', 'threads', 'videos'])
/** What settings name credentials for, the first there is. */
const PURPOSES: Readonly<Partial<Record<ObjectFamily, readonly string[]>>> = {
  files: ['files_settings'],
  batches: ['batch_settings', 'files_settings'],
  fine_tuning: ['finetune_settings'],
  assistants: ['assistant_settings'],
  threads: ['assistant_settings'],
}

/** Fields of forms that hold the id of another object. */
const REFERENCE_FIELD = /_ids?$|^video(?:\[id\])?$/

/** A call below `/v1` or `/{provider}/v1`. */
export function shapeOf(pattern: string): { family: ObjectFamily; shape: string } {
  const shape = pattern.replace(/^(?:\/\{provider\})?\/v1/, '')
  return { family: shape.split('/')[1] as ObjectFamily, shape }
}

/**
 * Where a call for objects goes, and what it says there. By the ids it names, else LiteLLM's order: provider in the path, `custom_llm_provider`,
 * model, the provider of the settings, OpenAI. Throws GatewayError.
 */
export async function readObjectCall(request: CarriedRequest, find: Finder, ids: CarriedIds): Promise<ObjectChoice> {
  const { family, shape } = shapeOf(request.pattern)
  const query = new URLSearchParams(request.query)
  const form = await request.form()
  const body = form ?? request.json() ?? {}
  const said = (name: string): string | null => textOf(body[name]) ?? textOf(query.get(name))
  const provider =
    request.params['provider'] ??
    said('custom_llm_provider') ??
    textOf(query.get('provider')) ??
    textOf(request.headers['custom-llm-provider']) ??
    textOf(request.headers['x-litellm-custom-llm-provider'])
  const named = said('model') ?? textOf(request.headers['x-litellm-model'])
  const purpose = PURPOSES[family]?.find((name) => find.services(name).length > 0)
  const model = named === null ? null : groupOf(named, find)
  // Where the model is named for the whole file, that of its lines does not count.
  const own = named === null && said('target_model_names') === null && form?.['purpose'] === 'batch'
  const file = own && isUploadedFile(form?.['file']) ? form['file'] : null
  const lines = new Map<string, Route | null>()
  for (const name of file === null ? [] : await modelsInBatch(file)) lines.set(name, groupOf(name, find)?.route ?? null)

  const found: ObjectName[] = []
  const sent = new Map<string, string>()
  const raw = new Set<string>()
  const decode = (id: string): ObjectName | null => {
    const object = ids.decode(id)
    if (object === null) raw.add(id)
    else found.push(object)
    return object
  }
  const params = Object.entries(request.params).filter(([name]) => name !== 'provider')
  const inPath = params.map(([name, id]) => ({ name, id, object: isHeld(shape, name) ? ids.decode(id) : decode(id) }))
  for (const { object } of inPath) if (object !== null && !found.includes(object)) found.push(object)
  const references: string[] = []
  const note = (id: string): string => {
    references.push(id)
    return id
  }
  if (body !== form) withReferences(body, note)
  else for (const [name, value] of Object.entries(body)) if (REFERENCE_FIELD.test(name)) references.push(...textsOf(value))
  for (const id of references) decode(id)

  const registered = find
    .services('vector_store_registry')
    .find(({ vectorStore }) => vectorStore !== null && raw.delete(vectorStore))
  if (raw.size > 0) refuseRaw(request, find, [...raw][0] as string)

  const route = routeOf()
  const at = (object: ObjectName): string => {
    const parts = partsOf(object)
    if (parts === null) return object.id
    const part = parts.find(({ deploymentId }) => deploymentId === route.deployment.id) ?? parts[0]
    return part?.id ?? object.id
  }
  const change = (id: string): string => {
    const object = ids.decode(id)
    if (object === null) return id
    if (object.deploymentId !== UNIFIED && object.deploymentId !== route.deployment.id) {
      throw new GatewayError('bad_request', `The objects of one request must be at one provider: ${id} is at another.`)
    }
    sent.set(at(object), id)
    return at(object)
  }
  let path = shape
  for (const { name, id } of inPath) path = path.replace(`{${name}}`, segmentOf(change(id)))
  for (const name of ['after', 'before']) {
    const cursor = query.get(name)
    if (cursor !== null && ids.decode(cursor) !== null) query.set(name, change(cursor))
  }
  for (const name of [...OURS, ...(family === 'files' || family === 'batches' ? ['model'] : [])]) query.delete(name)
  if (!servesObjects(route.deployment.provider, family)) {
    throw new GatewayError(
      'unsupported_endpoint',
      `${route.deployment.provider} has no ${family.replace('_', '-')} API of OpenAI's form: /v1${shape} is not supported for it.`,
    )
  }
  const object = inPath[0]?.object ?? null
  const parts = (object === null ? null : partsOf(object))?.map((part) => ({
    route: find.byDeployment(part.deploymentId),
    id: part.id,
  }))
  return {
    route,
    model: model?.name ?? named ?? family,
    modelGroup: model?.name ?? named ?? family,
    call: {
      family,
      shape,
      path,
      query,
      json: form === null && request.json() !== null ? fieldsOf(withReferences(body, change) as Fields) : null,
      form: form === null ? null : fieldsOf(formReferences(form)),
      model: model?.name ?? null,
      sent,
      lines,
      object,
      parts: parts ?? [],
      targets: targetsOf(said('target_model_names'), find),
    },
  }

  function routeOf(): Route {
    const single = found.find(({ deploymentId }) => deploymentId !== UNIFIED)
    if (single !== undefined) return find.byDeployment(single.deploymentId)
    const [unified] = found.map(partsOf)
    if (unified != null) {
      const part =
        (model === null ? undefined : unified.find((one) => one.model === model.name)) ??
        (model === null ? unified[0] : undefined)
      if (part === undefined)
        throw new GatewayError('bad_request', `The file was not uploaded for the model ${named}.`, { param: 'model' })
      return find.byDeployment(part.deploymentId)
    }
    if (registered !== undefined) return registered.route()
    const [target] = targetsOf(said('target_model_names'), find)
    if (target !== undefined) return target.route
    if (provider !== null && provider !== undefined) return find.byProvider(provider, purpose)
    if (model !== null) return model.route
    const [line] = [...lines.values()].filter((one) => one !== null)
    if (line !== undefined) return line
    return find.byProvider(find.services(purpose ?? '')[0]?.provider ?? 'openai', purpose)
  }

  function fieldsOf(fields: Fields): Fields {
    const own = Object.fromEntries(Object.entries(fields).filter(([name]) => !OURS.has(name)))
    if (!WITH_MODEL.has(family)) delete own['model']
    else if (model !== null && typeof own['model'] === 'string' && route.model !== '') own['model'] = route.model
    return own
  }

  function formReferences(fields: Fields): Fields {
    return Object.fromEntries(
      Object.entries(fields).map(([name, value]) => [
        name,
        REFERENCE_FIELD.test(name) && typeof value === 'string' ? change(value) : value,
      ]),
    )
  }
}

/** Encoding leaves dots as they are, and they would mean another path. Throws GatewayError `not_found`. */
function segmentOf(id: string): string {
  if (id === '.' || id === '..') throw new GatewayError('not_found', `No such object: ${id}.`)
  return encodeURIComponent(id)
}

/** What is held by an object of ours in the path needs no proof of its own: messages, runs, files of a container. */
function isHeld(shape: string, name: string): boolean {
  return name !== 'id' && !(name === 'file' && shape.startsWith('/vector_stores'))
}

/** A model group the caller may use; null = no such group, and the caller may use any model. Throws `model_denied`, `unknown_model`. */
function groupOf(name: string, find: Finder): { name: string; route: Route } | null {
  try {
    return { name, route: find.byModel(name) }
  } catch (thrown) {
    if (thrown instanceof GatewayError && thrown.code === 'unknown_model' && find.anyModel) return null
    throw thrown
  }
}

/** Most model groups one file is uploaded for: the id that stands for all copies names each. */
const TARGETS_MAX = 12

function targetsOf(names: string | null, find: Finder): { model: string; route: Route }[] {
  const list = [...new Set((names ?? '').split(',').map((name) => name.trim()))].filter((name) => name !== '')
  if (list.length > TARGETS_MAX) {
    throw new GatewayError('bad_request', `target_model_names holds at most ${TARGETS_MAX} models.`, {
      param: 'target_model_names',
    })
  }
  return list.map((model) => ({ model, route: find.byModel(model) }))
}

function refuseRaw({ identity }: CarriedRequest, find: Finder, id: string): void {
  if (identity.role === 'proxy_admin' || find.runtime.settings.providerObjectIds === true) return
  throw new GatewayError(
    'not_found',
    `No such object: ${id}. It is no id of this gateway; ids of providers are for proxy admins, unless turnpike_settings.provider_object_ids allows them.`,
  )
}

/** A form of these fields, files last as providers that read as it comes want it. */
export function formOf(fields: Fields): { contentType: string; body: Uint8Array } {
  const parts: FormPart[] = []
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      const part = { name: Array.isArray(value) ? `${name}[]` : name, value: isUploadedFile(one) ? one : String(one) }
      parts.push(part)
    }
  }
  return multipart(parts.sort((a, b) => Number(isUploadedFile(a.value)) - Number(isUploadedFile(b.value))))
}

function textOf(value: unknown): string | null {
  if (Array.isArray(value)) return textOf(value.join(','))
  return typeof value === 'string' && value !== '' ? value : null
}

function textsOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).filter((one): one is string => typeof one === 'string')
}
