import type { Message, ToolCall } from '../../canonical/chat.ts'
import { isFields, objects, type Part, text } from './wire.ts'

/**
 * Thought signatures: what the model needs of its own thinking in the next turn. They come on parts and must go back on the same ones.
 * A call's travels with the call, that of text with the message, each under `provider_specific_fields` as LiteLLM names them.
 */

/** LiteLLM also writes a call's signature into its id, behind this; conversations begun there go on here. */
const IN_ID = '__thought__'

/** The service takes this in place of a signature it never gave: history from another model, or a client that lost it. */
const NO_SIGNATURE = 'skip_thought_signature_validator'

/** The id, among us, of a call that its provider named nothing. */
export function unnamedCall(turn: number, position: number): string {
  return `call_unnamed_${turn}_${position}`
}

/** The call's id as the provider knew it; empty when it knew none. */
export function callId(id: string): string {
  if (/^call_unnamed_\d+_\d+$/.test(id)) return ''
  const at = id.indexOf(IN_ID)
  return at < 0 ? id : id.slice(0, at)
}

export function signatureOf(call: ToolCall): string {
  const fields = [
    call['provider_specific_fields'],
    (call.function as { provider_specific_fields?: unknown } | undefined)?.provider_specific_fields,
  ]
  for (const own of fields) if (isFields(own) && text(own['thought_signature']) !== '') return text(own['thought_signature'])
  // OpenAI's compatible endpoint of Google, and clients written for it.
  const extra = call['extra_content']
  const google = isFields(extra) && isFields(extra['google']) ? text(extra['google']['thought_signature']) : ''
  if (google !== '') return google
  const at = text(call.id).indexOf(IN_ID)
  return at < 0 ? '' : call.id.slice(at + IN_ID.length)
}

/** Puts the signatures of an earlier answer back on its parts. `demanded`: the model refuses a first call without one. */
export function signCalls(parts: Part[], calls: readonly ToolCall[], demanded: boolean): void {
  for (const [index, call] of calls.entries()) {
    const part = parts[index]
    const signature = signatureOf(call) || (demanded && index === 0 ? NO_SIGNATURE : '')
    if (part !== undefined && signature !== '') part['thoughtSignature'] = signature
  }
}

/** The signature of an answer's text, or ''. */
export function textSignature(message: Message): string {
  const fields = message['provider_specific_fields']
  const listed = isFields(fields) ? fields['thought_signatures'] : undefined
  return Array.isArray(listed) ? text(listed.at(-1)) : ''
}

/** Parts of an answer without a canonical place (code it ran, and its output), kept whole. */
export function keptParts(message: Message): Part[] {
  const fields = message['provider_specific_fields']
  return isFields(fields) ? objects(fields['parts']) : []
}
