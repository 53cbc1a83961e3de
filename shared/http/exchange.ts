import { GatewayError } from '../errors.ts'
import type { HttpClient, OutgoingCall, OutgoingRequest } from './client.ts'

/** A whole answer, whatever its status. */
export interface Exchanged {
  status: number
  /** Names lower case. */
  headers: Record<string, string>
  body: Buffer
}

/**
 * One small request and its whole answer. Rejects with GatewayError when there is none within `limit` milliseconds of silence, or when it is larger than
 * `maxBytes`. `opened` gets the call, to abort it: then nothing comes any more.
 */
export function exchange(
  http: HttpClient,
  request: Omit<OutgoingRequest, 'headersTimeout' | 'bodyTimeout'>,
  { limit, maxBytes, opened }: { limit: number; maxBytes: number; opened?: (call: OutgoingCall) => void },
): Promise<Exchanged> {
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = []
    let bytes = 0
    let status = 0
    let headers: Record<string, string> = {}
    const call = http.send(
      { ...request, headersTimeout: limit, bodyTimeout: limit },
      {
        head(code, named) {
          status = code
          headers = named
        },
        data(part) {
          bytes += part.length
          if (bytes <= maxBytes) parts.push(Uint8Array.from(part))
          else {
            call.abort()
            reject(new GatewayError('provider_malformed', `The answer is larger than ${maxBytes} bytes.`))
          }
        },
        end: () => resolve({ status, headers, body: Buffer.concat(parts, bytes) }),
        failed: reject,
      },
    )
    opened?.(call)
  })
}
