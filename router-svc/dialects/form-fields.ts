import { isUploadedFile, type UploadedFile } from '../canonical/uploaded-file.ts'
import { invalid } from './request-fields.ts'

/** Forms know only text: the fields that are numbers, flags or lists, as such. Throws GatewayError `bad_request` naming the field. */
export function typedFields(
  body: Readonly<Record<string, unknown>>,
  kinds: Readonly<Record<string, 'number' | 'boolean' | 'list'>>,
): Record<string, unknown> {
  const typed: Record<string, unknown> = { ...body }
  for (const name in kinds) {
    const value = typed[name]
    if (value === undefined || value === null) continue
    if (kinds[name] === 'list') typed[name] = Array.isArray(value) ? value : [value]
    else if (typeof value === 'string') typed[name] = kinds[name] === 'number' ? numberOf(name, value) : flagOf(name, value)
  }
  return typed
}

function numberOf(name: string, text: string): number {
  const number = Number(text)
  if (text.trim() === '' || !Number.isFinite(number)) throw invalid(name, 'number', text)
  return number
}

function flagOf(name: string, text: string): boolean {
  const flag = text.toLowerCase()
  if (flag === 'true' || flag === '1') return true
  if (flag === 'false' || flag === '0') return false
  throw invalid(name, 'boolean', text)
}

/** Files under one name, at least one; of JSON they are data URLs. Throws GatewayError `bad_request`. */
export function filesOf(body: Readonly<Record<string, unknown>>, name: string): UploadedFile[] {
  const value = body[name]
  const given: unknown[] = Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]
  const files = given.map((file) => (typeof file === 'string' ? (fileIn(file, name) ?? file) : file))
  if (files.length === 0) throw invalid(name, 'file', undefined)
  if (!files.every(isUploadedFile))
    throw invalid(
      name,
      'file',
      files.find((file) => !isUploadedFile(file)),
    )
  return files
}

/** The file of a base64 data URL (RFC 2397); null for any other text. */
function fileIn(url: string, name: string): UploadedFile | null {
  const type = /^data:([\w.+-]+\/[\w.+-]+)?(?:;[\w=.-]+)*;base64,/.exec(url)
  if (type === null) return null
  const bytes = Buffer.from(url.slice(type[0].length), 'base64')
  const extension = (type[1] ?? 'application/octet-stream').replace(/^.*[/+]/, '')
  return { name: `${name}.${extension}`, type: type[1] ?? 'application/octet-stream', bytes }
}
