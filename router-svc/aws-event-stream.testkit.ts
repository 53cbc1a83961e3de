import { crc32 } from 'node:zlib'

/** One frame with text headers, as AWS makes it. */
export function awsFrame(headers: Readonly<Record<string, string>>, payload: string): Uint8Array {
  const parts = Object.entries(headers).map(([name, value]) => {
    const bytes = Buffer.from(value)
    const head = Buffer.from([name.length, ...Buffer.from(name), 7, bytes.length >> 8, bytes.length & 255])
    return Buffer.concat([head, bytes])
  })
  return rawFrame(Buffer.concat(parts), Buffer.from(payload))
}

/** A frame around the bytes of its headers. */
export function rawFrame(headers: Buffer, payload: Buffer): Uint8Array {
  const prelude = Buffer.alloc(12)
  prelude.writeUInt32BE(16 + headers.length + payload.length, 0)
  prelude.writeUInt32BE(headers.length, 4)
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8)
  const body = Buffer.concat([prelude, headers, payload])
  const checksum = Buffer.alloc(4)
  checksum.writeUInt32BE(crc32(body), 0)
  return Buffer.concat([body, checksum])
}

export function awsEvent(name: string, payload: unknown): Uint8Array {
  const headers = { ':event-type': name, ':content-type': 'application/json', ':message-type': 'event' }
  return awsFrame(headers, JSON.stringify(payload))
}

export function awsException(name: string, payload: unknown): Uint8Array {
  const headers = { ':exception-type': name, ':content-type': 'application/json', ':message-type': 'exception' }
  return awsFrame(headers, JSON.stringify(payload))
}
