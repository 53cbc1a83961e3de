import { readFile } from 'node:fs/promises'
import { GatewayError } from '../../shared/errors.ts'
import type { HttpClient } from '../../shared/http/client.ts'
import { exchange } from '../../shared/http/exchange.ts'
import type { CredentialDeps } from './index.ts'

/** What reads a token: the environment, files, and issuers that are asked over HTTP. */
interface Means {
  env: CredentialDeps['env']
  http: HttpClient
}

const GOOGLE = 'http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity'
const LIMITS = { limit: 10_000, maxBytes: 1_000_000 }

/** One line an issuer of `oidc/ISSUER/AUDIENCE`, as LiteLLM names them (https://docs.litellm.ai/docs/oidc). */
const ISSUERS: Readonly<Record<string, (rest: string, means: Means) => Promise<string>>> = {
  file: (path) => fileText(path),
  env: async (name, means) => variable(name, means),
  env_path: (name, means) => fileText(variable(name, means)),
  circleci: async (_, means) => variable('CIRCLE_OIDC_TOKEN', means),
  circleci_v2: async (_, means) => variable('CIRCLE_OIDC_TOKEN_V2', means),
  azure: (_, means) => fileText(variable('AZURE_FEDERATED_TOKEN_FILE', means)),
  google: (audience, { http }) =>
    fetched(http, `${GOOGLE}?audience=${encodeURIComponent(audience)}&format=full`, { 'metadata-flavor': 'Google' }),
  github: github,
}

/**
 * The token that `aws_web_identity_token` names: `oidc/…`, the path of a file, the name of an environment variable, or the token itself.
 * Read anew each time, since files are replaced. Rejects with GatewayError `provider_authentication`, which never shows the token.
 */
export async function webIdentityToken(named: string, means: Means): Promise<string> {
  const [, issuer, rest] = /^oidc\/([^/]+)(?:\/(.*))?$/s.exec(named) ?? []
  let token: string
  if (issuer !== undefined) {
    const read = ISSUERS[issuer]
    if (read === undefined) throw missing(`knows no issuer ${JSON.stringify(issuer)}`)
    token = await read(rest ?? '', means)
  } else if (isToken(named)) token = named
  else if (/[/\\]/.test(named)) token = await fileText(named)
  else token = variable(named, means)
  if (token.trim() === '') throw missing('is empty')
  return token.trim()
}

/** Whether it is a token, and names none that is elsewhere. */
export function isToken(named: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(named)
}

function variable(name: string, { env }: Means): string {
  const value = env[name]
  if (value === undefined || value === '') throw missing(`needs an environment variable that is not set`)
  return value
}

async function fileText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw missing(`names a file that cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'no code'})`, cause)
  }
}

/** A job of GitHub Actions asks its runner, which is told by two variables where and how. */
async function github(audience: string, means: Means): Promise<string> {
  const url = new URL(variable('ACTIONS_ID_TOKEN_REQUEST_URL', means))
  url.searchParams.set('audience', audience)
  const authorization = `Bearer ${variable('ACTIONS_ID_TOKEN_REQUEST_TOKEN', means)}`
  const answer = await fetched(means.http, url.href, { authorization, accept: 'application/json' })
  try {
    return String((JSON.parse(answer) as { value?: unknown }).value ?? '')
  } catch (cause) {
    throw missing('was answered with something that is not JSON', cause)
  }
}

async function fetched(http: HttpClient, url: string, headers: Record<string, string>): Promise<string> {
  const answer = await exchange(http, { method: 'GET', url, headers }, LIMITS)
  if (answer.status !== 200) throw missing(`was refused with HTTP ${answer.status}`)
  return answer.body.toString('utf8')
}

function missing(problem: string, cause?: unknown): GatewayError {
  return new GatewayError('provider_authentication', `aws_web_identity_token ${problem}.`, cause === undefined ? {} : { cause })
}
