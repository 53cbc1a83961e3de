import { GatewayError } from '../../shared/errors.ts'
import type { ChatRequest, ChatResponse } from '../canonical/chat.ts'
import { decodeError } from './openai/error.ts'
import type { Adapter, Provider } from './provider.ts'

/**
 * Stands for the groups an auto router chooses from: a call is handed on before it gets here (routing/auto/choose.ts). One that does come was sent
 * by something that does not choose, such as a fallback.
 */
export function autoRouter(name: string): Provider {
  const refuse = (): never => {
    throw new GatewayError(
      'bad_request',
      'litellm.BadRequestError: an auto router chooses a model for a call, and cannot itself be a fallback, a mirror or a health check.',
      { param: 'model' },
    )
  }
  const chat: Adapter<ChatRequest, ChatResponse, never> = { mode: 'chat', encodeRequest: refuse, decodeResponse: refuse }
  return {
    name,
    chooses: true,
    auth: { type: 'none' },
    base: '',
    keyNames: [],
    chat: chat as NonNullable<Provider['chat']>,
    decodeError: (status, headers, body) => decodeError(name, status, headers, body),
  }
}
