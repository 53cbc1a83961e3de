import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { awsEvent } from '../../aws-event-stream.testkit.ts'
import type { ChatRequest, ContentPart, Message, Tool } from '../../canonical/chat.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import type { Target } from '../provider.ts'
import { type Fields, isFields, text } from './wire.ts'

/** One answer of Converse or ConverseStream, as somebody recorded it. */
export interface Recording {
  file: string
  model: string
  /** The request body, where it was kept. */
  request: Fields | null
  status: number
  headers: Record<string, string>
  /** A whole answer as text, or the frames of a streamed one. */
  body: string | null
  stream: Uint8Array | null
}

const FOLDER = new URL('../../../../shared/fixtures/bedrock/', import.meta.url)

/** Every recording of the two routes; those of others (InvokeModel, Mantle, token counts) are not this adapter's. */
export function recordings(): Recording[] {
  return readdirSync(fileURLToPath(FOLDER)).flatMap((file) => {
    const source = file === 'ORIGIN.md' ? '' : readFileSync(new URL(file, FOLDER), 'utf8')
    if (file.endsWith('.chunks.txt'))
      return [
        streamOf(
          file,
          source
            .split('\n')
            .filter(Boolean)
            .map((line) => JSON.parse(line)),
        ),
      ]
    if (!file.endsWith('.json')) return []
    const data = JSON.parse(source) as Fields
    if (data['format'] === undefined) return isFields(data['output']) ? [wholeOf(file, source)] : []
    if (data['format'] === 'http-exchanges/1')
      return (data['exchanges'] as Exchange[]).flatMap((exchange) => exchanged(file, exchange))
    return parsed(file, data)
  })
}

interface Exchange {
  request: { url: string; body: unknown }
  response: { status: number; headers: Record<string, string[]>; body: unknown; stream?: string | null }
}

function exchanged(file: string, { request, response }: Exchange): Recording[] {
  const model = /\/model\/([^/]+)\/converse(-stream)?$/.exec(request.url)?.[1]
  if (model === undefined) return []
  const body = typeof response.body === 'string' ? response.body : JSON.stringify(response.body)
  const streamed = response.stream === 'aws-eventstream'
  return [
    {
      file,
      model: decodeURIComponent(model),
      request: isFields(request.body) ? request.body : null,
      status: response.status,
      headers: Object.fromEntries(Object.entries(response.headers).map(([name, values]) => [name, values.join(', ')])),
      body: streamed ? null : body,
      stream: streamed ? Buffer.from(body, 'base64') : null,
    },
  ]
}

/** Saved through an SDK: events as objects with one member, their name. */
function parsed(file: string, data: Fields): Recording[] {
  const found: Recording[] = []
  for (const turn of ['', 'followup_']) {
    const whole = data[`${turn}response`]
    const events = data[`${turn}response_streaming`]
    if (isFields(whole) && isFields(whole['output'])) found.push(wholeOf(file, JSON.stringify(whole)))
    if (Array.isArray(events) && isFields(events[0]) && isFields(events[0]['messageStart'])) found.push(streamOf(file, events))
  }
  return found
}

function wholeOf(file: string, body: string): Recording {
  return { file, model: 'anthropic.claude', request: null, status: 200, headers: {}, body, stream: null }
}

function streamOf(file: string, events: Fields[]): Recording {
  const frames = events.flatMap((event) => Object.entries(event).map(([name, payload]) => awsEvent(name, payload)))
  return { file, model: 'anthropic.claude', request: null, status: 200, headers: {}, body: null, stream: Buffer.concat(frames) }
}

export function target(fields: Partial<Target> = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: 'bedrock',
    model: 'us.anthropic.claude-sonnet-4-5-20250929-v1:0',
    base: 'https://bedrock-runtime.us-east-1.amazonaws.com',
    ...fields,
  }
}

/** A recorded request in the words of an OpenAI client. */
export function canonicalOf(request: Fields): ChatRequest {
  const { messages, system, inferenceConfig, toolConfig, outputConfig, additionalModelRequestFields, serviceTier, ...rest } =
    request
  const inference = isFields(inferenceConfig) ? inferenceConfig : {}
  const canonical: ChatRequest = {
    model: 'asked',
    messages: [],
    ...rest,
    ...(additionalModelRequestFields as Fields | undefined),
  }
  if (Array.isArray(system) && system.length > 0) canonical.messages.push({ role: 'system', content: parts(system as Fields[]) })
  for (const turn of messages as { role: string; content: Fields[] }[]) canonical.messages.push(...turnOf(turn))
  if (inference['maxTokens'] !== undefined) canonical.max_tokens = inference['maxTokens'] as number
  if (inference['temperature'] !== undefined) canonical.temperature = inference['temperature'] as number
  if (inference['topP'] !== undefined) canonical.top_p = inference['topP'] as number
  if (inference['stopSequences'] !== undefined) canonical.stop = inference['stopSequences'] as string[]
  if (isFields(toolConfig)) toolsOf(toolConfig, canonical)
  if (isFields(serviceTier)) canonical.service_tier = text(serviceTier['type'])
  if (isFields(outputConfig)) {
    const format = outputConfig['textFormat'] as {
      structure: { jsonSchema: { name: string; description?: string; schema: string } }
    }
    const { schema, ...named } = format.structure.jsonSchema
    canonical.response_format = { type: 'json_schema', json_schema: { ...named, schema: JSON.parse(schema) as Fields } }
  }
  return canonical
}

function toolsOf(config: Fields, canonical: ChatRequest): void {
  const tools: Tool[] = []
  for (const tool of config['tools'] as Fields[]) {
    const last = tools.at(-1)
    if (isFields(tool['cachePoint']) && last !== undefined) last.cache_control = { type: 'ephemeral' }
    else if (isFields(tool['toolSpec'])) {
      const { name, description, inputSchema, strict } = tool['toolSpec'] as {
        name: string
        description?: string
        inputSchema: { json: Fields }
        strict?: boolean
      }
      tools.push({
        type: 'function',
        function: {
          name,
          ...(description === undefined ? {} : { description }),
          parameters: inputSchema.json,
          ...(strict === undefined ? {} : { strict }),
        },
      })
    } else tools.push(tool as Tool)
  }
  canonical.tools = tools
  const choice = config['toolChoice']
  if (!isFields(choice)) return
  if (isFields(choice['tool'])) canonical.tool_choice = { type: 'function', function: { name: text(choice['tool']['name']) } }
  else canonical.tool_choice = 'any' in choice ? 'required' : 'auto'
}

function turnOf({ role, content }: { role: string; content: Fields[] }): Message[] {
  if (role === 'assistant') return [assistant(content)]
  const made: Message[] = []
  for (const block of content) {
    if (!isFields(block['toolResult'])) continue
    const { toolUseId, content: said, status } = block['toolResult'] as { toolUseId: string; content: Fields[]; status?: string }
    made.push({ role: 'tool', tool_call_id: toolUseId, content: parts(said), ...(status === 'error' ? { is_error: true } : {}) })
  }
  const others = content.filter((block) => block['toolResult'] === undefined)
  if (others.length > 0) made.push({ role: 'user', content: parts(others) })
  return made
}

function assistant(content: Fields[]): Message {
  const message: Message = { role: 'assistant', content: parts(content.filter((block) => 'text' in block)) }
  const kept: Fields[] = []
  for (const block of content) {
    const { toolUse: use, reasoningContent: reasoning } = block
    if (isFields(use) && use['type'] === undefined) {
      message.tool_calls ??= []
      const named = { name: text(use['name']), arguments: JSON.stringify(use['input']) }
      message.tool_calls.push({ id: text(use['toolUseId']), type: 'function', function: named })
    } else if (isFields(reasoning)) {
      const { text: thinking, signature } = (reasoning['reasoningText'] ?? {}) as { text: string; signature: string }
      const redacted = reasoning['redactedContent']
      message.thinking_blocks ??= []
      message.thinking_blocks.push(
        redacted === undefined ? { type: 'thinking', thinking, signature } : { type: 'redacted_thinking', data: text(redacted) },
      )
    } else if (!('text' in block)) kept.push(block)
  }
  if (kept.length > 0) message['provider_specific_fields'] = { content_blocks: kept }
  return message
}

function parts(blocks: readonly Fields[]): ContentPart[] {
  const made: ContentPart[] = []
  for (const block of blocks) {
    const { image, document } = block
    const last = made.at(-1)
    if (block['cachePoint'] !== undefined && last !== undefined) last['cache_control'] = { type: 'ephemeral' }
    else if (typeof block['text'] === 'string') made.push({ type: 'text', text: block['text'] })
    else if (isFields(image))
      made.push({ type: 'image_url', image_url: { url: uri(image['source'] as Fields, `image/${image['format']}`) } })
    else if (isFields(document)) {
      const source = document['source'] as Fields
      const file = { filename: `${document['name']}.${document['format']}`, file_data: uri(source, '') }
      made.push({ type: 'file', file })
    } else made.push(block as ContentPart)
  }
  return made
}

function uri(source: Fields, type: string): string {
  if (isFields(source['s3Location'])) return text(source['s3Location']['uri'])
  return `data:${type};base64,${source['bytes']}`
}
