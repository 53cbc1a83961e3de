import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { SpeechRequest, SpeechResponse } from '../../canonical/speech.ts'
import { isFields, jsonObject, sourceOf, text } from '../json.ts'
import { billedUnits } from '../openai/media-usage.ts'
import { voiceOf } from '../own-fields.ts'
import { charactersOf, type OwnSpeech, ownSpeech } from '../own-speech.ts'
import type { Adapter, Conversation, DecodeContext, Provider, Target, UpstreamAnswer } from '../provider.ts'

/** Milliseconds between questions. */
const POLL = 2000
/** Voices for who asks for one of OpenAI's, the same that LiteLLM gives. */
const VOICES: Readonly<Record<string, string>> = {
  alloy: 'Maya',
  echo: 'James',
  fable: 'Bernard',
  onyx: 'Vincent',
  nova: 'Serene',
  shimmer: 'Ella',
}
const WAITING: ReadonlySet<unknown> = new Set(['PENDING', 'THROTTLED', 'RUNNING'])

type Speech = Adapter<SpeechRequest, SpeechResponse, never>

/** RunwayML's speech: a task whose outcome is the address of an MP3 (https://docs.dev.runwayml.com/api). */
export function runwaySpeech(row: ProviderRow, readError: Provider['decodeError']): Speech {
  const headers = row.headers ?? {}
  const plain = ownSpeech(speechOf(headers), readError)
  function* spoken(request: SpeechRequest, target: Target, context: DecodeContext): Conversation<SpeechResponse> {
    let task = objectOf(yield { send: [plain.encodeRequest(request, target)] })
    const id = text(task['id'])
    if (!/^[\w-]{1,64}$/.test(id)) throw new GatewayError('provider_malformed', 'The answer holds no id of the task.')
    do {
      task = objectOf(
        yield { send: [{ method: 'GET', url: `${target.base}/tasks/${id}`, headers: { ...headers }, body: '' }], after: POLL },
      )
    } while (WAITING.has(task['status']))
    const output = Array.isArray(task['output']) ? (task['output'] as unknown[])[0] : undefined
    if (task['status'] !== 'SUCCEEDED' || typeof output !== 'string') {
      const said = text(task['failure'], `the task ended as ${JSON.stringify(task['status'])}`)
      const refused = /SAFETY|MODERATION/i.test(text(task['failureCode']))
      if (refused) throw new GatewayError('content_policy', said)
      throw readError(500, {}, JSON.stringify({ error: { message: said } }))
    }
    const [sound] = yield { send: [{ method: 'GET', url: output, headers: {}, body: '' }] }
    const { headers: told, body } = sound as UpstreamAnswer
    const type = told['content-type'] ?? ''
    return { audio: body, contentType: /^audio\//.test(type) ? type : 'audio/mpeg', billing: billedUnits(charactersOf(context)) }
  }
  return { ...plain, converse: spoken }
}

function speechOf(headers: Readonly<Record<string, string>>): OwnSpeech {
  return {
    rules: { unsupported: ['instructions', 'stream_format', 'speed'] },
    encode({ input, rest }, request, target) {
      const { voice } = request
      const preset = { type: 'runway-preset', presetId: voiceOf(request, VOICES) ?? 'Bernard' }
      const body = {
        model: target.model,
        promptText: input,
        voice: isFields(voice) && voice['type'] !== undefined ? voice : preset,
        ...rest,
      }
      return {
        method: 'POST',
        url: `${target.base}/text_to_speech`,
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      }
    },
  }
}

function objectOf([answer]: UpstreamAnswer[]): Record<string, unknown> {
  return jsonObject(sourceOf((answer as UpstreamAnswer).body), 'The answer')
}
