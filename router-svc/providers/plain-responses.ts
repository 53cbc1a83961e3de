import { GatewayError } from '../../shared/errors.ts'
import type { ChatRequest, ContentPart, Message, ResponsesClient, Tool, ToolCall } from '../canonical/chat.ts'
import type { Protocol, Target } from './provider.ts'

type Fields = Readonly<Record<string, unknown>>

/** What only a provider that stores responses can do. */
const STORED = ['conversation', 'prompt'] as const

/**
 * The request of a client of the Responses API for a provider that speaks another protocol. What has no counterpart there is refused by name,
 * or left out under `drop_params`: hosted tools, items of theirs, stored prompts and conversations. A custom tool becomes a function with one
 * text for its input where the provider has only functions. Never changes `request`. Throws GatewayError `unsupported_parameter`.
 */
export function plainResponses(
  request: ChatRequest & { responses: ResponsesClient },
  protocol: Protocol | undefined,
  target: Target,
): ChatRequest {
  const { body, unplaced } = request.responses
  const drops = target.dropParams || request['drop_params'] === true
  // Another server in the provider's place is spoken to through its chat, unless it is said to have more.
  const advice =
    protocol === 'openai-chat' ? ' If its server has /responses, set `use_responses_api: true` on the deployment.' : ''
  const refuse = (param: string, what: string): void => {
    if (drops) return
    throw new GatewayError(
      'unsupported_parameter',
      `litellm.UnsupportedParamsError: ${target.provider} does not support ${what}, for model=${target.model}. To leave such parameters out, set \`drop_params: true\`.${advice}`,
      { param },
    )
  }
  for (const { place, type } of unplaced) refuse(place, `items of type ${type} (${place})`)
  for (const name of STORED) if (body[name] !== undefined && body[name] !== null) refuse(name, name)
  const functionsOnly = protocol !== 'openai-chat'
  const plain: ChatRequest = { ...request, messages: plainMessages(request.messages, functionsOnly) }
  // How many words it takes, which other protocols cannot be asked.
  if (functionsOnly) delete plain['verbosity']
  if (request.tools === undefined) return plain
  const tools: Tool[] = []
  for (const tool of request.tools) {
    if (tool.type === 'function') tools.push(tool)
    else if (tool.type === 'custom') tools.push(functionsOnly ? functionOf(tool) : tool)
    else refuse(`tools[${(body.tools ?? []).findIndex(({ type }) => type === tool.type)}]`, `the tool ${tool.type}`)
  }
  plain.tools = tools
  const choice = plain.tool_choice
  if (functionsOnly && typeof choice === 'object' && choice?.type === 'custom')
    plain.tool_choice = { type: 'function', function: { name: String((choice['custom'] as Fields)['name']) } }
  if (tools.length > 0) return plain
  delete plain.tools
  delete plain.tool_choice
  delete plain.parallel_tool_calls
  return plain
}

function functionOf(tool: Tool): Tool {
  const { name, description, format } = tool['custom'] as Fields
  const grammar = typeof format === 'object' && format !== null ? (format as Fields)['grammar'] : undefined
  const words = [description, grammar === undefined ? '' : `The input follows this grammar: ${JSON.stringify(grammar)}`]
  const input = { type: 'string', description: 'The whole input of the tool, as plain text.' }
  return {
    type: 'function',
    function: {
      name: name as string,
      description: words.filter((word) => typeof word === 'string' && word !== '').join('\n\n'),
      parameters: { type: 'object', properties: { input }, required: ['input'], additionalProperties: false },
    },
  }
}

/** Pictures and files in tool results are shown by the user, who alone may send them in a chat. */
function plainMessages(messages: readonly Message[], functionsOnly: boolean): Message[] {
  const plain: Message[] = []
  let shown: ContentPart[] = []
  const show = (): void => {
    if (shown.length > 0) plain.push({ role: 'user', content: shown })
    shown = []
  }
  for (const message of messages) {
    if (message.role !== 'tool') show()
    if (message.role === 'tool' && Array.isArray(message.content)) {
      const texts = message.content.filter(({ type }) => type === 'text').map((part) => String(part['text']))
      shown.push(...message.content.filter(({ type }) => type !== 'text'))
      plain.push({ ...message, content: texts.join('\n') })
    } else if (functionsOnly && message.tool_calls?.some(({ type }) => type === 'custom') === true)
      plain.push({ ...message, tool_calls: message.tool_calls.map(functionCall) })
    else plain.push(message)
  }
  show()
  return plain
}

function functionCall(call: ToolCall): ToolCall {
  if (call.custom === undefined) return call
  const { name, input } = call.custom
  return { id: call.id, type: 'function', function: { name, arguments: JSON.stringify({ input }) } }
}
