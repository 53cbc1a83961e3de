import { isUploadedFile, type UploadedFile } from '../canonical/uploaded-file.ts'

/** One field of a form, in its place. */
export interface FormPart {
  name: string
  value: string | UploadedFile
}

/** Fields of a canonical request as parts of a form: lists as `name[]` once an item, objects as JSON, what is null not at all. */
export function formParts(fields: Readonly<Record<string, unknown>>): FormPart[] {
  const parts: FormPart[] = []
  for (const [name, value] of Object.entries(fields)) {
    if (!Array.isArray(value)) add(parts, name, value)
    // A list of one file is how a single one is kept here; OpenAI's older models know no brackets.
    else if (value.length === 1 && isUploadedFile(value[0])) add(parts, name, value[0])
    else for (const item of value) add(parts, `${name}[]`, item)
  }
  return parts
}

function add(parts: FormPart[], name: string, value: unknown): void {
  if (value === undefined || value === null) return
  if (typeof value === 'string' || isUploadedFile(value)) parts.push({ name, value })
  else parts.push({ name, value: typeof value === 'object' ? JSON.stringify(value) : String(value) })
}

/** `multipart/form-data` (RFC 7578, names escaped as browsers do), under a boundary found by looking: the same parts make the same bytes. */
export function multipart(parts: readonly FormPart[]): { contentType: string; body: Uint8Array } {
  const chunks = parts.map(({ name, value }) => {
    const head = `content-disposition: form-data; name="${escaped(name)}"`
    if (typeof value === 'string') return { head: `${head}\r\n\r\n`, bytes: Buffer.from(value) }
    const file = `${head}; filename="${escaped(value.name)}"\r\ncontent-type: ${typeOf(value)}\r\n\r\n`
    return { head: file, bytes: viewOf(value.bytes) }
  })
  const boundary = boundaryOutside(chunks.flatMap(({ head, bytes }) => [Buffer.from(head), bytes]))
  const written = chunks.flatMap(({ head, bytes }) => [Buffer.from(`--${boundary}\r\n${head}`), bytes, Buffer.from('\r\n')])
  const body = Buffer.concat([...written, Buffer.from(`--${boundary}--\r\n`)])
  return { contentType: `multipart/form-data; boundary=${boundary}`, body }
}

function boundaryOutside(contents: readonly Buffer[]): string {
  for (let count = 0; ; count++) {
    const boundary = `turnpike-form-${count}`
    if (!contents.some((bytes) => bytes.includes(boundary))) return boundary
  }
}

/** https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data */
function escaped(name: string): string {
  return name.replaceAll('\n', '%0A').replaceAll('\r', '%0D').replaceAll('"', '%22')
}

function typeOf({ type }: UploadedFile): string {
  return /^[\x21-\x7e][\x20-\x7e]*$/.test(type) ? type : 'application/octet-stream'
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
