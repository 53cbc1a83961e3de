/** A management HTTP request carried over the bus, edge → accounting; the body travels beside it. */
export interface AdminMessage {
  v: number
  callId: string
  method: string
  /** Path with query string. */
  url: string
  /** All request headers, lower case: accounting authenticates management calls itself. */
  headers: Record<string, string>
  clientIp?: string
}
