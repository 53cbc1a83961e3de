import { GatewayError } from '../shared/errors.ts'
import type { UploadedFile } from './canonical/uploaded-file.ts'

/** Fields and files of one form. Each takes the parser 10 µs in which nothing else runs, and the bytes of a request would do for millions. */
const PARTS_MAX = 1000

/**
 * A `multipart/form-data` body as an object: text as strings, files as UploadedFile; a name that ends in `[]` or comes several times is a list
 * under the name without the brackets. Null = another content type. Rejects with GatewayError `bad_request`.
 */
export async function readForm(body: Uint8Array, contentType: string | undefined): Promise<Record<string, unknown> | null> {
  if (contentType === undefined || !/^multipart\/form-data\b/i.test(contentType)) return null
  refuseMany(body, contentType)
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

/** Throws GatewayError `bad_request`. */
function refuseMany(body: Uint8Array, contentType: string): void {
  const [, quoted, plain = quoted] = /boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType) ?? []
  if (plain === undefined) return
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const mark = Buffer.from(`--${plain}`, 'latin1')
  let parts = 0
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + mark.length)) {
    parts += 1
    // The last one ends the form.
    if (parts > PARTS_MAX + 1) throw new GatewayError('bad_request', `The form has more than ${PARTS_MAX} fields and files.`)
  }
}

async function fileOf(file: File): Promise<UploadedFile> {
  return { name: file.name, type: file.type || 'application/octet-stream', bytes: new Uint8Array(await file.arrayBuffer()) }
}
