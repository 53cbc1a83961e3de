import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import { AwsEventStreamParser } from '../../aws-event-stream.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import { EXCEPTION } from '../aws-exception.ts'
import { decodeError } from '../bedrock/errors.ts'
import { eventObject, text } from '../json.ts'
import { promptOf, textOf } from '../prompt-text.ts'
import type { Adapter, Ask, Conversation, DecodeContext, Provider, Target, UpstreamRequest } from '../provider.ts'
import { agentParameters, answerOf, lastTurn, sessionOf } from './agent.ts'

/**
 * Agents of AWS Bedrock (`agent/ID/ALIAS`): InvokeAgent, whose answer is always a stream of AWS's frames. A conversation is a session; one that the
 * client did not name is the call's own.
 */
export function bedrockAgent(name: string, row: ProviderRow): Provider {
  const parametersOf = agentParameters(row)
  const send = (request: ChatRequest, target: Target, own: string): UpstreamRequest => {
    const [agent, alias, ...more] = target.model.split('/')
    if (!agent || !alias || more.length > 0)
      throw new GatewayError('bad_request', 'litellm.BadRequestError: an agent of Bedrock is named agent/<id>/<alias>.', {
        param: 'model',
      })
    const session = sessionOf(request)
    const turn = session === null ? null : lastTurn(request.messages)
    const inputText =
      turn === null
        ? promptOf(request.messages, target)
        : turn.map((message, at) => textOf(message, at, target.provider)).join('\n\n')
    const path = [agent, 'agentAliases', alias, 'sessions', session ?? own].map(encodeURIComponent).join('/')
    return {
      method: 'POST',
      url: `${target.base}/agents/${path}/text`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ inputText, ...parametersOf(request, target) }),
    }
  }
  const chat: Adapter<ChatRequest, ChatResponse, ChatChunk> = {
    mode: 'chat',
    framing: 'aws',
    encodeRequest: (request, target) => send(request, target, 'turnpike'),
    converse: (request, target, { id }) =>
      // At least two of these characters, and no more than a hundred.
      only(send(request, target, id.replace(/[^\w.:-]/g, '-').slice(0, 100))),
    decodeResponse(body, _headers, context) {
      const parser = new AwsEventStreamParser()
      const said = [...parser.push(body), ...parser.end()].map(({ event, data }) => readEvent(event, data))
      if (said.every((piece) => piece === null))
        throw new GatewayError('provider_malformed', 'The answer of the agent holds no text.')
      return answerOf(said.join(''), null, context)
    },
    decodeStream(context) {
      let begun = false
      let done = false
      return {
        get done() {
          return done
        },
        push({ event, data }) {
          const content = readEvent(event, data)
          if (content === null) return []
          const delta = begun ? { content } : { role: 'assistant', content }
          begun = true
          return [chunkOf(context, [{ index: 0, delta, finish_reason: null }])]
        },
        end() {
          if (done) return []
          done = true
          if (!begun) throw new GatewayError('provider_malformed', 'The agent sent an empty stream.')
          return [chunkOf(context, [{ index: 0, delta: {}, finish_reason: 'stop' }])]
        },
      }
    },
  }
  return { name, auth: { type: 'made', kind: 'aws-agent' }, base: null, keyNames: [], chat, decodeError }
}

/** A conversation that is one request, which a request alone cannot name: its session is the call's. */
function* only(last: UpstreamRequest): Conversation<ChatResponse> {
  const nothing: Ask[] = []
  yield* nothing
  return { last }
}

/** Text of a `chunk`, in base64; null for traces and whatever else is told on the way. Throws what an exception says. */
function readEvent(event: string, data: string): string | null {
  if (event.startsWith(EXCEPTION)) throw decodeError(200, { 'x-amzn-errortype': event.slice(EXCEPTION.length) }, data)
  if (event !== 'chunk') return null
  return Buffer.from(text(eventObject(data)['bytes']), 'base64').toString('utf8')
}

function chunkOf({ id, created, model }: DecodeContext, choices: ChatChunk['choices']): ChatChunk {
  return { id, object: 'chat.completion.chunk', created, model, choices }
}
