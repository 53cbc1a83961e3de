import { ENDPOINTS } from '../proto/endpoints.ts'
import { anthropicErrorBody, anthropicStatus, type GatewayError, googleErrorBody, openaiErrorBody } from '../shared/errors.ts'
import { sseEvent } from '../shared/http/sse.ts'

/** How an error of the edge's own looks to the clients of a path, who may never have reached a router. */
export interface ErrorForm {
  status(error: GatewayError): number
  body(error: GatewayError): string
  /** The last event of a stream that fails. */
  event(error: GatewayError): string
}

const OPENAI: ErrorForm = {
  status: (error) => error.status,
  body: (error) => JSON.stringify(openaiErrorBody(error)),
  event: (error) => sseEvent(JSON.stringify(openaiErrorBody(error))),
}

const ANTHROPIC: ErrorForm = {
  status: anthropicStatus,
  body: (error) => JSON.stringify(anthropicErrorBody(error)),
  event: (error) => sseEvent(JSON.stringify(anthropicErrorBody(error)), 'error'),
}

/** Behind whatever number the last event had, which nobody here has read. */
const LAST_NUMBER = 2 ** 31 - 1

/** OpenAI's, but for streams, whose events have types and numbers. */
const RESPONSES: ErrorForm = {
  ...OPENAI,
  event: (error) => {
    const { message, param } = error
    const told = { type: 'error', sequence_number: LAST_NUMBER, code: 'server_error', message, param }
    return sseEvent(JSON.stringify(told), 'error')
  },
}
const RESPONSES_PATH = /^(?:\/v1|\/openai(?:\/v1)?(?:\/deployments\/[^/]+)?)?\/responses(?:\/|$)/

const GOOGLE: ErrorForm = {
  status: (error) => error.status,
  body: (error) => JSON.stringify(googleErrorBody(error)),
  event: (error) => sseEvent(JSON.stringify(googleErrorBody(error))),
}

/** What Google's clients ask of a model: `/v1beta/models/{model}:generateContent`. */
const GOOGLE_PATH = /^\/(?:v1beta\/|v1\/)?models\/.+:[a-zA-Z]+\/?$/

const ANTHROPIC_PATHS: ReadonlySet<string> = new Set(
  ENDPOINTS.filter(({ dialect }) => dialect === 'anthropic' || dialect === 'anthropic-count').flatMap(({ path }) => [
    path,
    path.replace(/^\/v1/, ''),
  ]),
)

/** The form for a request path: that of the endpoint it names, OpenAI's for everything else. */
export function errorFormOf(path: string): ErrorForm {
  if (GOOGLE_PATH.test(path)) return GOOGLE
  if (RESPONSES_PATH.test(path)) return RESPONSES
  return ANTHROPIC_PATHS.has(path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path) ? ANTHROPIC : OPENAI
}
