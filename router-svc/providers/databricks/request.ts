import { numeric } from '../../../shared/numeric.ts'
import type { ChatRequest, ContentPart, Message, ThinkingBlock, Tool } from '../../canonical/chat.ts'
import { type Traits, traitsOf } from '../anthropic/models.ts'
import { encodeThinking } from '../anthropic/thinking.ts'
import type { Fields } from '../json.ts'
import type { Target } from '../provider.ts'
import { createRefusals } from '../refusals.ts'

/** Models whose names say nothing are no Claude; `base_model` says what stands behind an endpoint of one's own. */
function isClaude({ model, baseModel }: Target): boolean {
  return (baseModel ?? model).toLowerCase().includes('claude')
}

/** Claude's thinking, and messages without what only other services read; in place. */
export function refineChat(body: Fields, target: Target, request: ChatRequest): void {
  const claude = isClaude(target)
  if (claude) {
    const effort = request.reasoning_effort
    if ((effort !== undefined && effort !== null) || request.thinking) think(body, target, request)
  }
  body['messages'] = (body['messages'] as Message[]).map((message) => plainMessage(message, claude))
  if (Array.isArray(body['tools'])) body['tools'] = (body['tools'] as Tool[]).map((tool) => plainTool(tool, claude))
}

/** An effort is LiteLLM's budget for it; Claudes that take none any more adapt. */
function think(body: Fields, target: Target, request: ChatRequest): void {
  const known = traitsOf(target.baseModel ?? target.model)
  // What Databricks documents of its chats is the budget.
  const traits: Traits = known.thinking === 'both' ? { ...known, thinking: 'budget' } : known
  const refusals = createRefusals(request, target)
  const limit = numeric(body['max_tokens'] ?? traits.maxOutput)
  const choice = request.tool_choice
  const forcedTool = choice === 'required' || (typeof choice === 'object' && choice !== null)
  const made = encodeThinking(request, traits, { maxTokens: limit, forcedTool, repair: true }, refusals)
  refusals.check()
  delete body['reasoning_effort']
  delete body['thinking']
  if (made.thinking !== undefined) body['thinking'] = made.thinking
  if (made.effort !== undefined) body['output_config'] = { effort: made.effort }
}

function plainMessage(message: Message, claude: boolean): Message {
  const { thinking_blocks: blocks, reasoning_content: _reasoning, provider_specific_fields: _own, ...plain } = message
  if (!claude) {
    delete plain.cache_control
    if (Array.isArray(plain.content))
      plain.content = plain.content.map(({ cache_control: _mark, ...part }) => part as ContentPart)
    return plain
  }
  const thought = (blocks ?? []).filter(({ type, signature }) => type === 'thinking' && signature).map(reasoningPart)
  if (thought.length === 0) return plain
  // Before what was said, as it was thought; Claude wants it back while it calls tools.
  const said = Array.isArray(plain.content) ? plain.content : plain.content ? [{ type: 'text', text: plain.content }] : []
  return { ...plain, content: [...thought, ...said] }
}

function reasoningPart({ thinking, signature }: ThinkingBlock): ContentPart {
  return { type: 'reasoning', summary: [{ type: 'summary_text', text: thinking ?? '', signature }] }
}

/** Some endpoints refuse `strict`. */
function plainTool({ cache_control: mark, ...tool }: Tool, claude: boolean): Tool {
  const plain: Tool = { ...tool, ...(claude && mark !== undefined ? { cache_control: mark } : {}) }
  if (tool.function === undefined) return plain
  const { strict: _strict, ...named } = tool.function
  return { ...plain, function: named }
}
