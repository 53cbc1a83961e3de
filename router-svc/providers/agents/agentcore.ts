import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import { decodeError } from '../bedrock/errors.ts'
import { type Fields, isFields, text } from '../json.ts'
import type { Provider } from '../provider.ts'
import { usageFrom } from '../text-protocol.ts'
import { type AgentSaid, agentProvider, holdsText, textIn } from './agent.ts'

/** Characters a session's name must have at least; AWS refuses shorter ones. */
const SESSION_LENGTH = 33

/**
 * Agents on AWS's AgentCore, by the ARN of their runtime. What they are sent is up to whoever wrote them: `prompt`, by the convention of AWS's own
 * kit, beside whatever else a request names.
 */
export function agentcore(name: string, row: ProviderRow): Provider {
  return agentProvider(name, row, {
    framing: 'loose',
    auth: { type: 'made', kind: 'aws-agentcore' },
    decodeError,
    request({ prompt, session, given }, target) {
      const { runtimeSessionId, runtimeUserId, qualifier, ...rest } = given
      const named = text(runtimeSessionId) || session
      if (named !== null && named.length < SESSION_LENGTH) throw shortSession(named.length)
      const query = text(qualifier) === '' ? '' : `?qualifier=${encodeURIComponent(text(qualifier))}`
      return {
        method: 'POST',
        url: `${target.base}/runtimes/${encodeURIComponent(target.model)}/invocations${query}`,
        headers: {
          'content-type': 'application/json',
          accept: 'text/event-stream, application/json',
          ...(named === null ? {} : { 'x-amzn-bedrock-agentcore-runtime-session-id': named }),
          ...(text(runtimeUserId) === '' ? {} : { 'x-amzn-bedrock-agentcore-runtime-user-id': text(runtimeUserId) }),
        },
        body: JSON.stringify({ prompt, ...rest }),
      }
    },
    read,
  })
}

function shortSession(length: number): GatewayError {
  return new GatewayError(
    'bad_request',
    `litellm.BadRequestError: the name of a session of AgentCore must have at least ${SESSION_LENGTH} characters, not ${length}.`,
    { param: 'session_id' },
  )
}

/** Events of AWS's agent kit, whose models' events are Converse's; else whatever holds a text. */
function read(piece: unknown): AgentSaid | null {
  // Python's way to write an object that is no JSON: the kit's own bookkeeping.
  if (typeof piece === 'string') return piece.startsWith("{'") ? null : { text: piece }
  if (!isFields(piece)) return { text: textIn(piece) }
  const { event, message, error } = piece
  if (typeof error === 'string') return { error: text(message) === '' ? error : `${error}: ${text(message)}` }
  if (isFields(event)) return eventSaid(event)
  if (isFields(message) && message['role'] !== undefined)
    return message['role'] === 'assistant' ? { text: textOfContent(message), whole: true } : null
  return holdsText(piece) ? { text: textIn(piece), whole: true } : null
}

function eventSaid({ contentBlockDelta, metadata }: Fields): AgentSaid | null {
  if (isFields(contentBlockDelta) && isFields(contentBlockDelta['delta'])) {
    const said = contentBlockDelta['delta']['text']
    return typeof said === 'string' ? { text: said } : null
  }
  if (!isFields(metadata) || !isFields(metadata['usage'])) return null
  return { usage: usageFrom(metadata['usage']['inputTokens'], metadata['usage']['outputTokens']) }
}

/** Calls of tools and their results stand among the parts. */
function textOfContent({ content }: Fields): string {
  if (!Array.isArray(content)) return text(content)
  return (content as unknown[]).map((part) => (isFields(part) ? text(part['text']) : text(part))).join('')
}
