import { createPrivateKey, sign } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import type { AuthClient } from 'google-auth-library'
import { GatewayError } from '../../shared/errors.ts'
import { type Fields, isFields, text } from '../providers/json.ts'
import { DEFAULT_LOCATION, hostOf, isLocation, isProject } from '../providers/vertex/models.ts'
import type { Credential } from './credential.ts'
import type { CredentialDeps, CredentialMaker } from './index.ts'
import { settingOf, variableOf } from './settings.ts'
import { tokenHeaders } from './token-headers.ts'
import type { Grant, Held, Tokens } from './tokens.ts'

const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const TOKEN_URI = 'https://oauth2.googleapis.com/token'
/** Seconds an assertion of a service account holds; the most that Google takes. */
const ASSERTION_LIFE = 3600
/** Milliseconds a token is taken to hold when nobody says. */
const TOKEN_LIFE = 3_600_000

const STORED = 'vertex_credentials of a stored model must be the JSON of a service account or of a user'

/** A base URL in which project and location stand already. */
const HOLDS_PLACE = /\/(?:projects|publishers|endpoints)\//

/** How a token is got: by a form, or by the library. */
type Source = { grant: Grant } | { id: string; fetch: (now: number) => Promise<Held<string>> }

/** A credential file, read; `from`: whose it is, for messages. */
interface Found {
  json: Fields
  from: string
}

/**
 * The credential of Vertex AI: an API key (`x-goog-api-key`: without a project, the service's express mode), or a token for what a credential file
 * of any of Google's kinds describes (`vertex_credentials`, VERTEXAI_CREDENTIALS, GOOGLE_APPLICATION_CREDENTIALS, gcloud's own), else for the
 * machine's own account. What the deployment says beats the environment.
 */
export const googleCredential: CredentialMaker = (deployment, deps) => {
  const setting = (name: string, alias: string) => settingOf(deployment, name, deps) || settingOf(deployment, alias, deps)
  const location =
    setting('vertex_location', 'vertex_ai_location') || variableOf(deps.env, 'VERTEXAI_LOCATION', 'VERTEX_LOCATION')
  if (location !== '' && !isLocation(location)) return { problem: `vertex_location "${location}" is not the name of a location` }
  const named = setting('vertex_project', 'vertex_ai_project')
  if (named !== '' && !isProject(named)) return { problem: `vertex_project "${named}" is not the id of a project` }

  const own = setting('vertex_credentials', 'vertex_ai_credentials')
  const given = own || variableOf(deps.env, 'VERTEXAI_CREDENTIALS', 'VERTEX_CREDENTIALS')
  if (deps.key !== null && (deployment.apiKey !== null || given === ''))
    return { ...placed(named, location, deployment.model), ...keyed(deps.key) }

  const isStored = own !== '' && deployment.fromDatabase
  if (isStored && !isInline(own)) return { problem: STORED }
  const found = given === '' ? ambient(deps) : fileOf(given, own === '' ? 'VERTEXAI_CREDENTIALS' : 'vertex_credentials')
  if (found !== null && 'problem' in found) return found
  if (isStored && found !== null && !isHarmless(found.json)) return { problem: STORED }
  const project = named || projectOf(found, own !== '', deps)
  if (!isProject(project) && !HOLDS_PLACE.test(deployment.apiBase ?? ''))
    return { problem: 'no Google project is configured (vertex_project, VERTEXAI_PROJECT)' }
  if (deps.tokens === undefined) return { problem: 'tokens of Google cannot be fetched here' }
  const source = found === null ? MACHINE : sourceOf(found)
  if ('problem' in source) return source
  const quota = text(found?.json['quota_project_id']) || variableOf(deps.env, 'GOOGLE_CLOUD_QUOTA_PROJECT')
  return { ...placed(project, location, deployment.model), ...bearing(source, quota, deps.tokens) }
}

/** Without a project (express mode) there is no location either. */
function placed(project: string, given: string, model: string): Pick<Credential, 'base' | 'baseOver'> {
  if (project === '') return { base: `https://${hostOf('global')}` }
  // The newest models are served at the global location alone.
  const location = given || (/gemini-[3-9]/.test(model) ? 'global' : DEFAULT_LOCATION)
  const path = `/projects/${project}/locations/${location}`
  return {
    base: `https://${hostOf(location)}${path}`,
    baseOver: (base) => (HOLDS_PLACE.test(base) ? base : `${base}${path}`),
  }
}

function keyed(key: string): Pick<Credential, 'headers'> {
  // OAuth tokens of Google's accounts are told by their beginning.
  const headers: Record<string, string> = key.startsWith('ya29.') ? { authorization: `Bearer ${key}` } : { 'x-goog-api-key': key }
  return { headers: () => headers }
}

function bearing(source: Source, quota: string, tokens: Tokens): Pick<Credential, 'headers'> {
  const token = 'grant' in source ? tokens.of(source.grant) : tokens.kept(`google ${source.id}`, source.fetch)
  const headersOf = (held: string): Record<string, string> => ({
    authorization: `Bearer ${held}`,
    ...(quota === '' ? {} : { 'x-goog-user-project': quota }),
  })
  return tokenHeaders(token, headersOf)
}

/** The other kinds have this machine read files, run programs or ask addresses they name: not for whoever may add models. */
function isHarmless({ type }: Fields): boolean {
  return type === 'service_account' || type === 'authorized_user'
}

function isInline(given: string): boolean {
  return given.trimStart().startsWith('{')
}

/** JSON, or the path of a file that holds it. Nothing of what it holds is told. */
function fileOf(given: string, from: string): Found | { problem: string } {
  let source: string
  try {
    source = isInline(given) ? given : readFileSync(given, 'utf8')
  } catch {
    return { problem: `${from} is neither JSON nor the path of a file that can be read` }
  }
  try {
    const json: unknown = JSON.parse(source)
    if (isFields(json)) return { json, from }
  } catch {
    // Said below: the parser's own words quote the text.
  }
  return { problem: `${from} does not hold a JSON object` }
}

/** Google's application-default files: the one that is named, then gcloud's. */
function ambient(deps: CredentialDeps): Found | { problem: string } | null {
  const path = variableOf(deps.env, 'GOOGLE_APPLICATION_CREDENTIALS')
  if (path !== '') return fileOf(path, 'GOOGLE_APPLICATION_CREDENTIALS')
  const home = variableOf(deps.env, 'HOME')
  const folder = variableOf(deps.env, 'CLOUDSDK_CONFIG') || (home === '' ? '' : `${home}/.config/gcloud`)
  const file = `${folder}/application_default_credentials.json`
  return folder !== '' && existsSync(file) ? fileOf(file, file) : null
}

/** A file of the deployment's own says more of the project than the environment, and the environment's own variable more than its file. */
function projectOf(found: Found | null, isOwn: boolean, deps: CredentialDeps): string {
  const inFile = text(found?.json['project_id'])
  const shared = variableOf(deps.env, 'VERTEXAI_PROJECT', 'VERTEX_PROJECT')
  return (isOwn ? inFile || shared : shared || inFile) || variableOf(deps.env, 'GOOGLE_CLOUD_PROJECT', 'GCLOUD_PROJECT')
}

function sourceOf({ json, from }: Found): Source | { problem: string } {
  const id = JSON.stringify(json)
  const missing = (...names: string[]): string | undefined => names.find((name) => text(json[name]) === '')
  const lacks = (name: string) => ({ problem: `${from}: ${name} is missing` })
  switch (json['type']) {
    case 'service_account': {
      const lacking = missing('client_email', 'private_key')
      return lacking === undefined ? serviceAccount(id, json, from) : lacks(lacking)
    }
    case 'authorized_user': {
      const lacking = missing('client_id', 'client_secret', 'refresh_token')
      if (lacking !== undefined) return lacks(lacking)
      const form: Record<string, string> = { grant_type: 'refresh_token' }
      for (const name of ['client_id', 'client_secret', 'refresh_token']) form[name] = text(json[name])
      return { grant: { id, issuer: 'Google', request: () => ({ url: text(json['token_uri']) || TOKEN_URI, form }) } }
    }
    case 'external_account':
    case 'impersonated_service_account':
    case 'external_account_authorized_user':
      return { id, fetch: (now) => fetched((library) => clientOf(library, json), now) }
    default:
      return { problem: `${from}: its type is none of Google's credentials` }
  }
}

/** Asks itself (RFC 7523): the library would ask at Google's public address whatever `token_uri` says. Throws never but as a problem. */
function serviceAccount(id: string, json: Fields, from: string): Source | { problem: string } {
  let key: ReturnType<typeof createPrivateKey>
  try {
    // Out of environment variables the line ends often come as two characters.
    key = createPrivateKey(text(json['private_key']).replaceAll('\\n', '\n'))
  } catch {
    return { problem: `${from}: its private_key cannot be read` }
  }
  const url = text(json['token_uri']) || TOKEN_URI
  const header = encoded({
    alg: 'RS256',
    typ: 'JWT',
    ...(text(json['private_key_id']) === '' ? {} : { kid: json['private_key_id'] }),
  })
  const request: Grant['request'] = (now) => {
    const issued = Math.floor(now / 1000)
    const claims = { iss: json['client_email'], scope: SCOPE, aud: url, iat: issued, exp: issued + ASSERTION_LIFE }
    const signed = `${header}.${encoded(claims)}`
    const assertion = `${signed}.${sign('RSA-SHA256', Buffer.from(signed), key).toString('base64url')}`
    return { url, form: { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion } }
  }
  return { grant: { id, issuer: 'Google', request } }
}

function encoded(fields: Fields): string {
  return Buffer.from(JSON.stringify(fields)).toString('base64url')
}

/**
 * The account of the machine or the pod, from its metadata server. The library's own search ends quickly where there is no such server;
 * `projectId` keeps it from searching that too.
 */
const MACHINE: Source = {
  id: 'of the machine',
  fetch: (now) => fetched(({ GoogleAuth }) => new GoogleAuth({ scopes: [SCOPE], projectId: 'given' }).getClient(), now),
}

type Library = typeof import('google-auth-library')

/** A client of the library for what is more than one form. */
function clientOf(library: Library, json: Fields): AuthClient {
  switch (json['type']) {
    case 'impersonated_service_account': {
      const sourceClient = clientOf(library, json['source_credentials'] as Fields)
      const targetPrincipal = /([^/]+):generateAccessToken$/.exec(text(json['service_account_impersonation_url']))?.[1] ?? ''
      return new library.Impersonated({
        sourceClient,
        targetPrincipal,
        targetScopes: [SCOPE],
        delegates: (json['delegates'] ?? []) as string[],
      })
    }
    case 'service_account':
      return new library.JWT({ email: text(json['client_email']), key: text(json['private_key']), scopes: [SCOPE] })
    case 'authorized_user': {
      const client = new library.UserRefreshClient()
      client.fromJSON(json as Parameters<typeof client.fromJSON>[0])
      return client
    }
    case 'external_account_authorized_user':
      return new library.ExternalAccountAuthorizedUserClient(
        json as unknown as ConstructorParameters<Library['ExternalAccountAuthorizedUserClient']>[0],
      )
    default:
      return externalClient(library, json)
  }
}

/** Workload identity federation; where the foreign token is from tells the kind. */
function externalClient(library: Library, json: Fields): AuthClient {
  const source = isFields(json['credential_source']) ? json['credential_source'] : {}
  const Client =
    source['environment_id'] !== undefined
      ? library.AwsClient
      : source['executable'] !== undefined
        ? library.PluggableAuthClient
        : library.IdentityPoolClient
  const client = new (Client as unknown as new (options: Fields) => InstanceType<Library['IdentityPoolClient']>)(json)
  client.scopes = [SCOPE]
  return client
}

/** A new client each time: what is kept, and until when, is for `Tokens` alone to say. */
async function fetched(make: (library: Library) => AuthClient | Promise<AuthClient>, now: number): Promise<Held<string>> {
  try {
    // About 50 ms and a hundred files, for those alone that have such a credential.
    const client = await make(await import('google-auth-library'))
    const { token } = await client.getAccessToken()
    if (typeof token !== 'string' || token === '') throw new Error('no token')
    return { value: token, expires: client.credentials.expiry_date ?? now + TOKEN_LIFE }
  } catch (thrown) {
    throw refusal(thrown)
  }
}

/** Errors of the library quote requests, and so secrets: its status and the code in the answer are all that is told. */
function refusal(thrown: unknown): GatewayError {
  const error = isFields(thrown) || thrown instanceof Error ? (thrown as unknown as Fields) : {}
  const response = isFields(error['response']) || error['response'] instanceof Object ? (error['response'] as Fields) : {}
  const status = Number(response['status'] ?? Number.NaN)
  if (status >= 500) return new GatewayError('provider_unavailable', `Google gave no token: HTTP ${status}.`)
  if (status >= 400) {
    const data = isFields(response['data']) ? response['data'] : {}
    const reason = /^[\w-]{1,64}$/.exec(text(data['error']))?.[0]
    return new GatewayError(
      'provider_authentication',
      `Google gave no token: HTTP ${status}${reason === undefined ? '' : ` (${reason})`}.`,
    )
  }
  const code = /^E[A-Z]{3,20}$/.exec(text(error['code']))?.[0]
  if (code !== undefined && code !== 'ENOENT')
    return new GatewayError('provider_connection', `Google's token service could not be reached (${code}).`)
  if (text(error['message']).startsWith('Could not load the default credentials'))
    return new GatewayError(
      'provider_authentication',
      'No Google credential is configured (vertex_credentials, GOOGLE_APPLICATION_CREDENTIALS), and no metadata server gives one.',
    )
  return new GatewayError('provider_authentication', 'Google gave no token: the credential is not usable as it is configured.')
}
