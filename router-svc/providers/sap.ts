import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Message } from '../canonical/chat.ts'
import { type Fields, jsonObject, sourceOf } from './json.ts'
import { openai } from './openai.ts'
import type { Provider, UpstreamRequest } from './provider.ts'
import { rewrittenStream } from './wrapped-stream.ts'

/** Other steps of an orchestration, which a request or a deployment may ask for by name. */
const MODULES = ['grounding', 'masking', 'filtering', 'translation'] as const

/** SAP AI Core's orchestration service (version 2): OpenAI's messages and parameters in a configuration of modules, its answers in an envelope. */
export function sap(name: string, row: ProviderRow): Provider {
  const { chat, completion: _made, ...provider } = openai(name, row)
  const stream = chat?.decodeStream
  if (chat === undefined || stream === undefined) throw new Error('a row without chat')
  return {
    ...provider,
    auth: { type: 'made', kind: 'sap' },
    chat: {
      ...chat,
      encodeRequest: (request, target) => orchestrated(chat.encodeRequest(request, target), target.base),
      decodeResponse(body, headers, context) {
        const answer = jsonObject(sourceOf(body), 'The answer')
        return chat.decodeResponse(Buffer.from(JSON.stringify(answer['final_result'] ?? answer)), headers, context)
      },
      decodeStream: (context) => rewrittenStream(stream(context), (fields) => fields['final_result'] ?? fields),
    },
  }
}

function orchestrated(sent: UpstreamRequest, base: string): UpstreamRequest {
  if (!base.includes('/deployments/')) {
    throw new GatewayError(
      'bad_request',
      'litellm.BadRequestError: api_base must be the URL of an orchestration deployment of SAP AI Core (…/v2/inference/deployments/<id>).',
    )
  }
  const {
    model,
    messages,
    tools,
    response_format: format,
    stream,
    model_version: version,
    ...given
  } = jsonObject(sent.body as string, 'The request')
  const modules: Fields = {}
  for (const module of MODULES) {
    if (given[module] === undefined) continue
    modules[module] = given[module]
    delete given[module]
  }
  const values: Record<string, string> = {}
  const prompt = {
    template: (messages as Message[]).map((message) => withoutPlaceholders(message, values)),
    ...(tools === undefined ? {} : { tools }),
    ...(format === undefined ? {} : { response_format: format }),
  }
  const config: Fields = {
    modules: {
      prompt_templating: { prompt, model: { name: model, ...(version === undefined ? {} : { version }), params: given } },
      ...modules,
    },
  }
  if (stream === true) config['stream'] = { enabled: true }
  const body = { config, ...(Object.keys(values).length === 0 ? {} : { placeholder_values: values }) }
  return { ...sent, url: base.endsWith('/completion') ? base : `${base}/v2/completion`, body: JSON.stringify(body) }
}

/** Texts are templates: one that looks like it becomes the value of a placeholder, and comes out as it was. */
function withoutPlaceholders(message: Message, values: Record<string, string>): Message {
  const plain = (said: string): string => {
    if (!said.includes('{{')) return said
    const name = `text_${Object.keys(values).length + 1}`
    values[name] = said
    return `{{?${name}}}`
  }
  const { content } = message
  if (typeof content === 'string') return { ...message, content: plain(content) }
  if (!Array.isArray(content)) return message
  const parts = content.map((part) =>
    part.type === 'text' && typeof part['text'] === 'string' ? { ...part, text: plain(part['text']) } : part,
  )
  return { ...message, content: parts }
}
