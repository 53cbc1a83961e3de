import { entryOf } from '../../shared/entry.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Message } from '../canonical/chat.ts'
import { isFields, text } from './json.ts'
import type { Target } from './provider.ts'

/**
 * A chat as one text, for models that only continue a text. A deployment says how its model wants it (`roles` with `pre_message` and
 * `post_message`, `initial_prompt_value`, `final_prompt_value`); else instructions and a question are joined, and a conversation becomes a
 * transcript that ends where the assistant speaks. Throws GatewayError `bad_request` for what is no text.
 */
export function promptOf(messages: readonly Message[], { settings, provider }: Target): string {
  const roles = settings['roles']
  const texts = messages.map((message, index) => textOf(message, index, provider))
  const begin = text(settings['initial_prompt_value'])
  const end = text(settings['final_prompt_value'])
  if (isFields(roles)) {
    const framed = messages.map(({ role }, index) => {
      const given = entryOf(roles, role)
      const frame = isFields(given) ? given : {}
      return text(frame['pre_message']) + (texts[index] as string) + text(frame['post_message'])
    })
    return begin + framed.join('') + end
  }
  if (!messages.some(({ role }) => role === 'assistant')) return begin + texts.join('\n\n') + end
  const lines = messages.map(({ role }, index) => `${entryOf(LABELS, role) ?? LABELS['user']}: ${texts[index]}`)
  const last = messages.at(-1)?.role === 'assistant' ? [] : [`${LABELS['assistant']}:`]
  return begin + [...lines, ...last].join('\n') + end
}

const LABELS: Readonly<Record<string, string>> = {
  system: 'System',
  developer: 'System',
  user: 'User',
  assistant: 'Assistant',
  tool: 'Tool',
  function: 'Tool',
}

/** What a message says. Throws `bad_request` naming the part that is no text. */
export function textOf({ content }: Message, index: number, provider: string): string {
  if (!Array.isArray(content)) return content ?? ''
  const parts = content.map((part, at) => {
    if (part.type === 'text') return text(part['text'])
    const param = `messages[${index}].content[${at}]`
    throw new GatewayError('bad_request', `litellm.BadRequestError: ${param} is ${part.type}, and ${provider} takes text only.`, {
      param,
    })
  })
  return parts.join('\n')
}
