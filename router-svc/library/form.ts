import { isUploadedFile, type UploadedFile } from '../canonical/uploaded-file.ts'

/** A file to send: with a name where the provider tells the format by it, else as a Blob, a File, or bare bytes. */
export type FileInput = UploadedFile | Blob | Uint8Array

/** A request with files as `multipart/form-data`; lists become repeated fields, null and undefined are left out. */
export async function encodeForm(fields: Readonly<Record<string, unknown>>): Promise<{ bytes: Uint8Array; type: string }> {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) {
    if (Array.isArray(value)) for (const item of value) append(form, `${name}[]`, name, item)
    else append(form, name, name, value)
  }
  const response = new Response(form)
  return { bytes: new Uint8Array(await response.arrayBuffer()), type: response.headers.get('content-type') as string }
}

function append(form: FormData, name: string, field: string, value: unknown): void {
  if (value === null || value === undefined) return
  if (isUploadedFile(value)) {
    form.append(name, new Blob([value.bytes as Uint8Array<ArrayBuffer>], { type: value.type }), value.name)
  } else if (value instanceof Blob) {
    form.append(name, value, value instanceof File ? value.name : field)
  } else if (value instanceof Uint8Array) {
    form.append(name, new Blob([value as Uint8Array<ArrayBuffer>]), field)
  } else form.append(name, typeof value === 'object' ? JSON.stringify(value) : String(value))
}
