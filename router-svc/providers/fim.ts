import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { completionFromChat, completionStreamFromChat } from './completion-from-chat.ts'
import { openai } from './openai.ts'
import type { Provider } from './provider.ts'

/** Mistral's completions that fill in the middle (`prompt`, `suffix`): asked as OpenAI's text completions, answered as its chats. */
export function fim(name: string, row: ProviderRow): Provider {
  const asked = openai(name, { ...row, modes: ['completion'] })
  const { chat } = openai(name, { ...row, modes: ['chat'] })
  const stream = chat?.decodeStream
  if (asked.completion === undefined || chat === undefined || stream === undefined) throw new Error('a row without completions')
  // No bytes pass: the two sides of the protocol differ.
  const { protocol: _protocol, ...completion } = asked.completion
  return {
    ...asked,
    completion: {
      ...completion,
      decodeResponse: (body, headers, context) => completionFromChat(chat.decodeResponse(body, headers, context)),
      decodeStream: (context) => completionStreamFromChat(stream(context)),
    },
  }
}
