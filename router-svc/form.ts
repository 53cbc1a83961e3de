import { GatewayError } from '../shared/errors.ts'
import type { UploadedFile } from './canonical/uploaded-file.ts'

/**
 * A `multipart/form-data` body as an object: text as strings, files as UploadedFile; a name that ends in `[]` or comes several times is a list
 * under the name without the brackets. Null = another content type. Rejects with GatewayError `bad_request`.
 */
export async function readForm(body: Uint8Array, contentType: string | undefined): Promise<Record<string, unknown> | null> {
  if (contentType === undefined || !/^multipart\/form-data\b/i.test(contentType)) return null
  let form: FormData
  try {
    form = await new Response(body as Uint8Array<ArrayBuffer>, { headers: { 'content-type': contentType } }).formData()
  } catch {
    // The parser's own words may quote the body.
    throw new GatewayError('bad_request', 'The request body is not a well-formed multipart/form-data document.')
  }
  const fields: Record<string, unknown> = Object.create(null)
  for (const [key, value] of form) {
    const listed = key.endsWith('[]')
    const name = listed ? key.slice(0, -2) : key
    const item = typeof value === 'string' ? value : await fileOf(value)
    const before = fields[name]
    if (before === undefined) fields[name] = listed ? [item] : item
    else if (Array.isArray(before)) before.push(item)
    else fields[name] = [before, item]
  }
  // What says how the call runs is read before a dialect gives fields their types.
  if (fields['stream'] === 'true') fields['stream'] = true
  if (fields['stream'] === 'false') fields['stream'] = false
  return fields
}

async function fileOf(file: File): Promise<UploadedFile> {
  return { name: file.name, type: file.type || 'application/octet-stream', bytes: new Uint8Array(await file.arrayBuffer()) }
}
