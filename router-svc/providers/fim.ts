import type { ProviderRow } from '../../shared/catalog/providers.ts'
import type { ChatChunk } from '../canonical/chat.ts'
import type { CompletionChunk } from '../canonical/completion.ts'
import { completionChunkFromChat, completionFromChat } from './completion-from-chat.ts'
import { openai } from './openai.ts'
import type { Provider, StreamDecoder } from './provider.ts'

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
      decodeStream: (context) => asCompletion(stream(context)),
    },
  }
}

function asCompletion(inner: StreamDecoder<ChatChunk>): StreamDecoder<CompletionChunk> {
  return {
    get done() {
      return inner.done
    },
    push: (event) => inner.push(event).map(completionChunkFromChat),
    end: () => inner.end().map(completionChunkFromChat),
  }
}
