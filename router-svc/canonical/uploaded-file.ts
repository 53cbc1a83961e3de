/** A file of a form, whole. */
export interface UploadedFile {
  /** As the client named it; no path of ours. */
  name: string
  /** Content type as the client said, or `application/octet-stream`. */
  type: string
  bytes: Uint8Array
}

export function isUploadedFile(value: unknown): value is UploadedFile {
  return typeof value === 'object' && value !== null && (value as UploadedFile).bytes instanceof Uint8Array
}
