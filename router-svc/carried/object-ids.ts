import type { ObjectKind } from '../../proto/objects.ts'
import { isFields } from '../providers/json.ts'
import type { CarriedIds, ObjectName } from './carrier.ts'

/** What `object` of an answer says its `id` is. Messages, runs, steps and events are reached through what holds them: their ids stay. */
const KINDS: Readonly<Record<string, ObjectKind>> = {
  file: 'file',
  batch: 'batch',
  'fine_tuning.job': 'fine_tuning_job',
  vector_store: 'vector_store',
  'vector_store.file': 'file',
  'vector_store.file.deleted': 'file',
  'vector_store.deleted': 'vector_store',
  assistant: 'assistant',
  'assistant.deleted': 'assistant',
  thread: 'thread',
  'thread.deleted': 'thread',
  container: 'container',
  'container.deleted': 'container',
  video: 'video',
  'video.deleted': 'video',
}

/** Members that hold the id of another object, or a list of such, wherever they stand. */
const REFERENCES: ReadonlySet<string> = new Set([
  'input_file_id',
  'output_file_id',
  'error_file_id',
  'training_file',
  'validation_file',
  'result_files',
  'file_id',
  'file_ids',
  'vector_store_id',
  'vector_store_ids',
  'assistant_id',
  'thread_id',
  'container_id',
  'remixed_from_video_id',
])

/** What clients wrote themselves, whatever it is named. */
const OPAQUE: ReadonlySet<string> = new Set(['metadata', 'attributes', 'arguments', 'filters'])

/** Ids as clients get them: those they sent themselves stay as they were sent. */
export type IdWriter = (raw: string) => string

/** `sent`: ids of this request, by the provider's. */
export function idWriter(deploymentId: string, ids: CarriedIds, sent: ReadonlyMap<string, string>): IdWriter {
  return (raw) => sent.get(raw) ?? ids.encode(/^[a-z]{1,16}[-_]/.exec(raw)?.[0] ?? '', { deploymentId, id: raw })
}

/** An answer with our ids in the place of the provider's. Pure. */
export function withOurIds(value: unknown, write: IdWriter): unknown {
  if (Array.isArray(value)) return value.map((item) => withOurIds(item, write))
  if (!isFields(value)) return value
  const held = value['object'] === 'list' || value['object'] === 'vector_store.search_results.page' ? idsIn(value['data']) : null
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => {
      if (OPAQUE.has(name)) return [name, member]
      const own = name === 'id' && typeof value['object'] === 'string' && Object.hasOwn(KINDS, value['object'])
      const end = (name === 'first_id' || name === 'last_id') && held?.has(member)
      if (typeof member === 'string' && member !== '' && (own || end || REFERENCES.has(name))) return [name, write(member)]
      if (REFERENCES.has(name) && Array.isArray(member)) {
        return [name, member.map((id) => (typeof id === 'string' ? write(id) : withOurIds(id, write)))]
      }
      return [name, withOurIds(member, write)]
    }),
  )
}

/** Ids of listed objects that are written by us. */
function idsIn(data: unknown): ReadonlySet<unknown> {
  const objects = Array.isArray(data) ? data.filter(isFields) : []
  return new Set(objects.filter(({ object }) => typeof object === 'string' && Object.hasOwn(KINDS, object)).map(({ id }) => id))
}

/** Every id a request's body refers to, with what `change` makes of it. Pure but for `change`. */
export function withReferences(value: unknown, change: (id: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item) => withReferences(item, change))
  if (!isFields(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => {
      if (OPAQUE.has(name)) return [name, member]
      // A video to edit or to go on from: a reference in an object of its own.
      if (name === 'video' && isFields(member) && typeof member['id'] === 'string')
        return [name, { ...member, id: change(member['id']) }]
      if (!REFERENCES.has(name)) return [name, withReferences(member, change)]
      if (typeof member === 'string') return [name, change(member)]
      if (!Array.isArray(member)) return [name, withReferences(member, change)]
      return [name, member.map((id) => (typeof id === 'string' ? change(id) : withReferences(id, change)))]
    }),
  )
}

/** One file at several providers: whose id stands for all of them. */
export interface UnifiedPart {
  /** The model group it was uploaded for. */
  model: string
  deploymentId: string
  id: string
}

/** `deploymentId` of an object that stands for several. */
export const UNIFIED = '*'

export function unifiedName(parts: readonly UnifiedPart[]): ObjectName {
  const id = JSON.stringify(parts.map(({ model, deploymentId, id }) => [model, deploymentId, id]))
  return { deploymentId: UNIFIED, id }
}

/** What an object stands for; null = it stands for itself. */
export function partsOf({ deploymentId, id }: ObjectName): UnifiedPart[] | null {
  if (deploymentId !== UNIFIED) return null
  return (JSON.parse(id) as [string, string, string][]).map(([model, deploymentId, id]) => ({ model, deploymentId, id }))
}
