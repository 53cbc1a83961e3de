import { entryOf } from '../../../shared/entry.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import { encodeMessage } from '../anthropic/request.ts'
import { decodeResponse as decodeMessage } from '../anthropic/response.ts'
import { MessageStream } from '../anthropic/stream.ts'
import type { Adapter, Target, UpstreamRequest } from '../provider.ts'
import { createRefusals } from '../refusals.ts'
import { InvokeStream, invokeRequest, isForService } from './invoke.ts'
import { modelOf, namesOf } from './models.ts'
import { encodeRequest as encodeConverse } from './request.ts'
import { decodeResponse as decodeConverse } from './response.ts'
import { ConverseStream } from './stream.ts'
import type { Fields } from './wire.ts'

const VERSION = 'bedrock-2023-05-31'

/**
 * Betas that Claude has on Bedrock, which refuses a request for any other
 * (https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html); clients ask for more,
 * not knowing where they end up.
 */
const BETAS = new Set([
  'computer-use-2024-10-22',
  'computer-use-2025-01-24',
  'computer-use-2025-11-24',
  'token-efficient-tools-2025-02-19',
  'interleaved-thinking-2025-05-14',
  'output-128k-2025-02-19',
  'dev-full-thinking-2025-05-14',
  'context-1m-2025-08-07',
  'context-management-2025-06-27',
  'effort-2025-11-24',
  'tool-search-tool-2025-10-19',
  'tool-examples-2025-10-29',
  'fine-grained-tool-streaming-2025-05-14',
])
/** What Anthropic calls by another name. */
const SAME_BETA: Readonly<Record<string, string>> = { 'advanced-tool-use-2025-11-20': 'tool-search-tool-2025-10-19' }

/**
 * Claude: through Converse, or through InvokeModel with Anthropic's own body, where the operator asks for it (`invoke/…`) and where the client speaks
 * Anthropic's protocol: Converse has no place for much of that.
 */
export const CLAUDE: Adapter<ChatRequest, ChatResponse, ChatChunk> = {
  mode: 'chat',
  framing: 'aws',
  takesAnthropic: true,
  encodeRequest: (request, target) =>
    invokes(target.model, request) ? encodeClaude(request, target) : encodeConverse(request, target),
  decodeResponse: (body, headers, context) =>
    invokes(context.model, context.request) ? decodeMessage(body, headers, context) : decodeConverse(body, headers, context),
  decodeStream: (context) =>
    invokes(context.model, context.request) ? new InvokeStream(new MessageStream(context)) : new ConverseStream(context),
}

function invokes(model: string, request: Readonly<Fields>): boolean {
  return request['anthropic'] !== undefined || modelOf(model).route === 'invoke'
}

/** The canonical request for Claude through InvokeModel. Throws what Anthropic's own encoder throws. */
export function encodeClaude(canonical: ChatRequest, target: Target): UpstreamRequest {
  const request = { ...canonical }
  for (const name in request) if (isForService(name)) delete request[name]
  const refusals = createRefusals(canonical, target)
  // Its tools that run at Anthropic are not to be had here.
  if (request['web_search_options'] != null && !refusals.refuse('web_search_options')) delete request['web_search_options']
  refusals.check()
  const { body, betas: asked } = encodeMessage(request, { ...target, model: namesOf(target) })
  const { model: _model, stream: _stream, ...message } = body
  const betas = betasOf(asked)
  const sent = { anthropic_version: VERSION, ...(betas.length === 0 ? {} : { anthropic_beta: betas }), ...message }
  return invokeRequest(sent, canonical, target)
}

function betasOf(header: string): string[] {
  const asked = header.split(',').map((name) => entryOf(SAME_BETA, name) ?? name)
  return [...new Set(asked)].filter((name) => BETAS.has(name))
}
