import type { CredentialMaker } from './index.ts'
import { settingOf, variableOf } from './settings.ts'

/** Cursor: its key is the name of Basic authorization, without a password. */
export const cursorCredential: CredentialMaker = (_, { key }) =>
  key === null ? { problem: 'no API key is configured (CURSOR_API_KEY)' } : basic(`${key}:`)

/** Langfuse: a public key and its secret. */
export const langfuseCredential: CredentialMaker = (deployment, deps) => {
  const name = settingOf(deployment, 'langfuse_public_key', deps) || variableOf(deps.env, 'LANGFUSE_PUBLIC_KEY')
  if (name === '' || deps.key === null) return { problem: 'no keys are configured (LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY)' }
  return basic(`${name}:${deps.key}`)
}

function basic(pair: string): { headers(): Record<string, string> } {
  const headers = { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
  return { headers: () => headers }
}
