import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { TranscriptionRequest, TranscriptionResponse } from '../../canonical/transcription.ts'
import { type Fields, isFields, jsonObject, sourceOf, text } from '../json.ts'
import { openai } from '../openai.ts'
import { type Heard, heardResponse, listening, NO_STREAM, speakerOf, wordsOf } from '../own-hearing.ts'
import type { Adapter, Conversation, DecodeContext, Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'

/** Where sound is heard: another host than the gateway to language models, which the row names. */
const SOUND = 'https://api.assemblyai.com'
/** Milliseconds between questions, as its documents say (https://www.assemblyai.com/docs/api-reference/transcripts/submit). */
const POLL = 3000
/** Models of before `speech_models`. */
const OLD = /^(?:best|nano|slam-1)$/
/** Failures of a job that lie in what was sent. */
const OF_THE_FILE = /transcod|audio|download|duration|language|file|speech/i

/** AssemblyAI: chats by OpenAI's protocol, transcriptions as jobs that are uploaded, made and polled. */
export function assemblyai(name: string, row: ProviderRow): Provider {
  const provider = openai(name, { ...row, protocol: 'openai' })
  return { ...provider, transcription: transcription(row, provider.decodeError) }
}

const listened = listening({
  unsupported: [...NO_STREAM, 'prompt', 'temperature'],
  rename: { language: 'language_code' },
})

function transcription(
  row: ProviderRow,
  readError: Provider['decodeError'],
): Adapter<TranscriptionRequest, TranscriptionResponse, never> {
  return {
    mode: 'transcription',
    encodeRequest: (request, target) => upload(request, target, row),
    decodeResponse: () => {
      throw new GatewayError('provider_malformed', 'A transcription is the end of a conversation here.')
    },
    converse: (request, target, context) => heard(request, target, context, row, readError),
  }
}

function* heard(
  request: TranscriptionRequest,
  target: Target,
  context: DecodeContext,
  row: ProviderRow,
  readError: Provider['decodeError'],
): Conversation<TranscriptionResponse> {
  const root = rootOf(target, row)
  const uploaded = objectOf(yield { send: [upload(request, target, row)] })
  const { speakers, rest } = listened(request, target)
  const model = OLD.test(target.model) ? { speech_model: target.model } : { speech_models: [target.model] }
  const language =
    rest['language_code'] === undefined && rest['language_detection'] === undefined ? { language_detection: true } : {}
  const job: Fields = {
    audio_url: uploaded['upload_url'],
    ...model,
    ...language,
    ...(speakers ? { speaker_labels: true } : {}),
    ...rest,
  }
  if (typeof job['audio_url'] !== 'string')
    throw new GatewayError('provider_malformed', 'The answer holds no address of the upload.')
  const headers = { 'content-type': 'application/json' }
  let state = objectOf(yield { send: [{ method: 'POST', url: `${root}/v2/transcript`, headers, body: JSON.stringify(job) }] })
  const id = text(state['id'])
  if (!/^[\w-]{1,64}$/.test(id)) throw new GatewayError('provider_malformed', 'The answer holds no id of the job.')
  while (state['status'] === 'queued' || state['status'] === 'processing') {
    const poll: UpstreamRequest = { method: 'GET', url: `${root}/v2/transcript/${id}`, headers: {}, body: '' }
    state = objectOf(yield { send: [poll], after: POLL })
  }
  if (state['status'] === 'completed') return heardResponse(read(state), context)
  const said = text(state['error'], `the job ended as ${JSON.stringify(state['status'])}`)
  throw readError(OF_THE_FILE.test(said) ? 400 : 500, {}, JSON.stringify({ error: { message: said } }))
}

function upload(request: TranscriptionRequest, target: Target, row: ProviderRow): UpstreamRequest {
  const { file } = listened(request, target)
  const headers = { 'content-type': 'application/octet-stream' }
  return { method: 'POST', url: `${rootOf(target, row)}/v2/upload`, headers, body: file.bytes }
}

function objectOf([answer]: UpstreamAnswer[]): Fields {
  return jsonObject(sourceOf((answer as UpstreamAnswer).body), 'The answer')
}

/** Words and utterances count milliseconds, the whole counts seconds. */
function read({
  text: said,
  words,
  utterances,
  audio_duration: duration,
  language_code: language,
  confidence,
  id,
}: Fields): Heard {
  const segments = (Array.isArray(utterances) ? (utterances as unknown[]) : []).filter(isFields).map((utterance) => ({
    start: Number(utterance['start']) / 1000,
    end: Number(utterance['end']) / 1000,
    text: text(utterance['text']),
    ...speakerOf(utterance['speaker']),
  }))
  return {
    text: text(said),
    ...(typeof language === 'string' ? { language } : {}),
    ...(typeof duration === 'number' ? { duration } : {}),
    ...(typeof confidence === 'number' ? { confidence } : {}),
    ...(typeof id === 'string' ? { id } : {}),
    words: wordsOf(words, (word) => word['text'], 1000),
    ...(segments.length === 0 ? {} : { segments }),
  }
}

/** A base of the operator's own (Europe's, a proxy) serves both. */
function rootOf({ base }: Target, row: ProviderRow): string {
  return base === row.base ? SOUND : base.replace(/\/v\d+(?:\/transcript)?$/, '')
}
