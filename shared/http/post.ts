import type { HttpClient } from './client.ts'

/** Posts JSON and reads the answer away: its status. Rejects with GatewayError when there is none in `limit` milliseconds. */
export function postJson(http: HttpClient, url: string, body: unknown, limit: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let status = 0
    http.send(
      {
        method: 'POST',
        url,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        headersTimeout: limit,
        bodyTimeout: limit,
      },
      {
        head(code) {
          status = code
        },
        data() {},
        end: () => resolve(status),
        failed: reject,
      },
    )
  })
}
