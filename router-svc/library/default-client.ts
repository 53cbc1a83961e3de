import { processEnvironment } from './environment.ts'
import { type Client, createClient } from './router.ts'

/** The client behind the top-level functions: made by the first call, and anew by the first one after `close`. */
let client: Client | null = null

export function defaultClient(): Client {
  client ??= createClient({ env: processEnvironment() })
  return client
}

/** Ends the calls of the top-level functions and closes their connections. */
export async function close(): Promise<void> {
  const closing = client
  client = null
  await closing?.close()
}
