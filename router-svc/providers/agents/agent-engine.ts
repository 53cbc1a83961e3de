import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { Usage } from '../../canonical/chat.ts'
import { type Fields, isFields, text } from '../json.ts'
import type { Provider, Target } from '../provider.ts'
import { postJson, usageFrom } from '../text-protocol.ts'
import { GOOGLE, versioned } from '../vertex/address.ts'
import { hostOf } from '../vertex/models.ts'
import { type AgentSaid, agentProvider, holdsText, textIn } from './agent.ts'

/** Agents of Google's Agent Engine: the number of one in the deployment's project, or its whole name (`projects/P/locations/L/reasoningEngines/N`). */
export function agentEngine(name: string, row: ProviderRow): Provider {
  return agentProvider(name, row, {
    framing: 'loose',
    auth: { type: 'made', kind: 'google' },
    request({ prompt, session, given }, target) {
      const { class_method: method, user_id: id, user, ...rest } = given
      // Sessions belong to a user there, and every question must be somebody's.
      const input: Fields = { message: prompt, user_id: text(id) || text(user) || 'turnpike', ...rest }
      if (session !== null) input['session_id'] = session
      return postJson(`${engineUrl(target)}:streamQuery?alt=sse`, {
        class_method: text(method, 'async_stream_query'),
        input,
      })
    },
    read,
  })
}

function engineUrl(target: Target): string {
  const base = versioned(target, 'v1')
  const whole = /^projects\/[^/]+\/locations\/([^/]+)\/reasoningEngines\/[^/]+$/.exec(target.model)
  if (whole === null) return `${base}/reasoningEngines/${encodeURIComponent(target.model)}`
  const at = base.indexOf('/projects/')
  const root = at < 0 ? base : base.slice(0, at)
  // Its location is where it runs, whatever the deployment's is.
  const host = GOOGLE.test(root) ? root.replace(/^https:\/\/[^/]+/, `https://${hostOf(whole[1] as string)}`) : root
  return `${host}/${target.model}`
}

/** Events of Google's agent kit: Gemini's contents, those of a step in pieces marked `partial` and then whole; else whatever holds a text. */
function read(piece: unknown): AgentSaid | null {
  if (!isFields(piece)) return { text: textIn(piece) }
  const code = piece['error_code'] ?? piece['errorCode']
  if (typeof code === 'string' && code !== '')
    return { error: `${code}: ${text(piece['error_message'] ?? piece['errorMessage'])}` }
  if (isFields(piece['error'])) return { error: text(piece['error']['message'], JSON.stringify(piece['error'])) }
  if (typeof piece['code'] === 'number' && typeof piece['message'] === 'string') return { error: piece['message'] }
  const { content } = piece
  if (!isFields(content) || !Array.isArray(content['parts']))
    return holdsText(piece) ? { text: textIn(piece), whole: true } : null
  const parts = (content['parts'] as unknown[]).filter(isFields)
  const said = parts.filter((part) => typeof part['text'] === 'string' && part['thought'] !== true)
  const words = said.map((part) => text(part['text'])).join('')
  if (piece['partial'] === true) return said.length === 0 ? null : { text: words }
  const usage = usageOf(piece['usage_metadata'] ?? piece['usageMetadata'])
  return said.length === 0 ? { usage } : { text: words, whole: true, usage }
}

function usageOf(usage: unknown): Usage | null {
  if (!isFields(usage)) return null
  const count = (snake: string, camel: string): number | undefined => {
    const value = usage[snake] ?? usage[camel]
    return typeof value === 'number' ? value : undefined
  }
  const said = count('candidates_token_count', 'candidatesTokenCount')
  const thought = count('thoughts_token_count', 'thoughtsTokenCount')
  const output = said === undefined && thought === undefined ? undefined : (said ?? 0) + (thought ?? 0)
  return usageFrom(count('prompt_token_count', 'promptTokenCount'), output)
}
