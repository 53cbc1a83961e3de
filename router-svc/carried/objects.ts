import type { ObjectKind, ObjectNews } from '../../proto/objects.ts'
import { isUploadedFile } from '../canonical/uploaded-file.ts'
import { type Fields, fieldsIn, sourceOf } from '../providers/json.ts'
import { type ObjectFamily, objectUrl } from '../providers/object-apis.ts'
import type { Route } from '../runtime.ts'
import { batchFor } from './batch-input.ts'
import type { CarriedAnswer, CarriedRequest, CarriedTools, CarriedUpstream, Carrier, Choice, Finder, Through } from './carrier.ts'
import { shownOf } from './forward.ts'
import { listObjects } from './list-objects.ts'
import { type IdWriter, idWriter, UNIFIED, unifiedName, withOurIds } from './object-ids.ts'
import { formOf, type ObjectCall, type ObjectChoice, readObjectCall, shapeOf } from './object-request.ts'
import { isOwnChoice, ownChoice, serveOwn } from './own-batches.ts'
import { settleSeen } from './settle-seen.ts'

/** What a family is called in the objects we remember. */
const KINDS: Readonly<Record<ObjectFamily, ObjectKind>> = {
  files: 'file',
  batches: 'batch',
  fine_tuning: 'fine_tuning_job',
  vector_stores: 'vector_store',
  assistants: 'assistant',
  threads: 'thread',
  containers: 'container',
  videos: 'video',
}
/** `POST` here makes an object of the family. */
const MAKES =
  /^\/(?:files|batches|fine_tuning\/jobs|vector_stores|assistants|threads|containers|videos(?:\/\{id\}\/remix|\/edits|\/extensions)?)$/
/** `GET` here lists what the caller has. */
const LISTS = /^\/(?:files|batches|fine_tuning\/jobs|vector_stores|assistants|containers|videos)$/
/** The object itself is the answer. */
const ITSELF = /^\/(?:fine_tuning\/jobs|\w+)\/\{id\}(?:\/(?:cancel|pause|resume))?$/
const BYTES = /\/content$/
/** Assistants and what belongs to them are a beta of OpenAI's. */
const BETA: ReadonlySet<ObjectFamily> = new Set(['assistants', 'threads', 'vector_stores'])

/**
 * Files, batches, fine-tuning jobs, vector stores, assistants, threads, containers and videos at providers with OpenAI's API for them. Ids in
 * answers become ours and ids in requests the provider's, so that follow-ups reach whoever has the object, and nobody else's call does.
 */
export const objects: Carrier = {
  async choose(request, find, ids) {
    const { family, shape } = shapeOf(request.pattern)
    if (request.method === 'GET' && LISTS.test(shape)) return listChoice(request, find, family)
    return (await ownChoice(request, shape, find, ids)) ?? readObjectCall(request, find, ids)
  },
  async serve(request, choice, tools) {
    const { family, shape } = shapeOf(request.pattern)
    if (request.method === 'GET' && LISTS.test(shape)) return listObjects(request, KINDS[family], tools)
    if (isOwnChoice(choice)) return serveOwn(request, choice, tools)
    const { call, route } = choice as ObjectChoice
    if (request.method === 'GET' && BYTES.test(shape)) return { kind: 'forward', upstream: upstreamOf(request, call, route) }
    if (call.form !== null && family === 'files') return upload(request, call, route, tools)
    if (request.method === 'DELETE' && call.parts.length > 0) return deleteParts(request, call, tools)
    const upstream = upstreamOf(request, call, route)
    if (call.json?.['stream'] === true) return streamed(upstream, idWriter(route.deployment.id, tools.ids, call.sent))
    return answered(request, call, route, upstream, tools)
  },
}

/** A list is ours: it needs no provider, but a call has one. */
function listChoice(request: CarriedRequest, find: Finder, family: ObjectFamily): Choice {
  const provider = request.params['provider'] ?? new URLSearchParams(request.query).get('custom_llm_provider') ?? 'openai'
  const [first] = find.runtime.routes
  const at = { model: family, modelGroup: family }
  try {
    return { ...at, route: find.byProvider(provider) }
  } catch (thrown) {
    if (first === undefined) throw thrown
    return { ...at, route: first }
  }
}

function upstreamOf(
  request: CarriedRequest,
  call: ObjectCall,
  route: Route,
  path = call.path,
  form = call.form,
): CarriedUpstream {
  const url = objectUrl(route.target, path)
  for (const [name, value] of call.query) url.searchParams.append(name, value)
  const headers: Record<string, string> = {}
  const beta = request.headers['openai-beta'] ?? (BETA.has(call.family) ? 'assistants=v2' : undefined)
  if (beta !== undefined) headers['openai-beta'] = beta
  const { method } = request
  if (form !== null) {
    const { contentType, body } = formOf(form)
    return { method, url: url.href, headers: { ...headers, 'content-type': contentType }, body }
  }
  if (call.json === null) return { method, url: url.href, headers, body: '' }
  return { method, url: url.href, headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(call.json) }
}

/** A JSON answer, its ids made ours and what it says of an object remembered. */
async function answered(
  request: CarriedRequest,
  call: ObjectCall,
  route: Route,
  upstream: CarriedUpstream,
  tools: CarriedTools,
): Promise<CarriedAnswer> {
  const { status, headers, body } = await tools.ask(route, upstream)
  const shown = shownOf(headers)
  const value = status < 300 ? objectIn(body) : null
  if (value === null) return { kind: 'answer', status, headers: shown, body }
  const news = newsOf(request, call, route, value)
  if (news !== null) tools.objects.keep(news)
  if (news?.what === 'seen') await settleSeen(news, route, tools)
  const write = idWriter(route.deployment.id, tools.ids, call.sent)
  return { kind: 'answer', status, headers: shown, body: JSON.stringify(withOurIds(value, write)) }
}

function newsOf({ method }: CarriedRequest, call: ObjectCall, route: Route, value: Fields): ObjectNews | null {
  const kind = KINDS[call.family]
  const id = value['id']
  if (typeof id !== 'string') return null
  const of = { kind, deploymentId: route.deployment.id, provider: route.deployment.provider }
  if (method === 'POST' && MAKES.test(call.shape)) return { ...of, id, what: 'created', facts: value }
  // A run that makes its thread.
  const thread = value['thread_id']
  if (call.shape === '/threads/runs' && typeof thread === 'string')
    return { ...of, id: thread, what: 'created', facts: { id: thread, object: 'thread' } }
  if (!ITSELF.test(call.shape)) return null
  return method === 'DELETE' ? { ...of, id, what: 'deleted' } : { ...of, id, what: 'seen', facts: value }
}

/** A file goes to every model named, or to the chosen provider; batches for a model group ask for what the deployment calls it. */
async function upload(request: CarriedRequest, call: ObjectCall, route: Route, tools: CarriedTools): Promise<CarriedAnswer> {
  const form = call.form as Fields
  const file = form['file']
  const formFor = async (one: Route, whole: boolean): Promise<Fields> =>
    form['purpose'] === 'batch' && isUploadedFile(file) ? { ...form, file: await batchFor(file, one, call.lines, whole) } : form
  const { targets } = call
  if (targets.length === 0) {
    const asked = await formFor(route, call.model !== null)
    return answered(request, call, route, upstreamOf(request, call, route, call.path, asked), tools)
  }
  const parts: { model: string; deploymentId: string; id: string }[] = []
  let first: Fields | null = null
  for (const { model, route: target } of targets) {
    const answer = await tools.ask(target, upstreamOf(request, call, target, call.path, await formFor(target, true)))
    const value = answer.status < 300 ? objectIn(answer.body) : null
    if (value === null || typeof value['id'] !== 'string') {
      // Half of a file is of no use: what is there already is taken back.
      for (const [index, part] of parts.entries()) await remove((targets[index] as { route: Route }).route, part.id, tools)
      return { kind: 'answer', status: answer.status, headers: shownOf(answer.headers), body: answer.body }
    }
    first ??= value
    parts.push({ model, deploymentId: target.deployment.id, id: value['id'] })
  }
  const name = unifiedName(parts)
  const { provider } = (targets[0] as { route: Route }).route.deployment
  tools.objects.keep({ kind: 'file', ...name, provider, what: 'created', facts: first as Fields })
  const body = JSON.stringify({ ...first, id: tools.ids.encode('file-', name) })
  return { kind: 'answer', status: 200, headers: { 'content-type': 'application/json' }, body }
}

/** Deletes a file wherever it is. */
async function deleteParts(request: CarriedRequest, call: ObjectCall, tools: CarriedTools): Promise<CarriedAnswer> {
  for (const { route, id } of call.parts) {
    const { status, headers, body } = await remove(route, id, tools)
    if (status >= 300 && status !== 404) return { kind: 'answer', status, headers: shownOf(headers), body }
  }
  const object = call.object as { deploymentId: string; id: string }
  const provider = call.parts[0]?.route.deployment.provider ?? ''
  tools.objects.keep({ kind: 'file', deploymentId: UNIFIED, id: object.id, provider, what: 'deleted' })
  const body = JSON.stringify({ id: request.params['id'], object: 'file', deleted: true })
  return { kind: 'answer', status: 200, headers: { 'content-type': 'application/json' }, body }
}

function remove(route: Route, id: string, tools: CarriedTools): ReturnType<CarriedTools['ask']> {
  const url = objectUrl(route.target, `/files/${encodeURIComponent(id)}`).href
  return tools.ask(route, { method: 'DELETE', url, headers: {}, body: '' })
}

/** Events as they come, ids in them made ours. */
function streamed(upstream: CarriedUpstream, write: IdWriter): CarriedAnswer {
  const decoder = new TextDecoder()
  let rest = ''
  const lineOf = (line: string): string => {
    if (!line.startsWith('data:') || !line.includes('{')) return line
    try {
      return `data: ${JSON.stringify(withOurIds(JSON.parse(line.slice(5)), write))}`
    } catch {
      return line
    }
  }
  const through: Through = {
    push(bytes) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
      rest = lines.pop() as string
      return Buffer.from(lines.map((line) => `${lineOf(line)}\n`).join(''))
    },
    end: () => Buffer.from(lineOf(rest + decoder.decode())),
  }
  return { kind: 'forward', upstream, through }
}

function objectIn(body: Uint8Array): Fields | null {
  return fieldsIn(sourceOf(body))
}
