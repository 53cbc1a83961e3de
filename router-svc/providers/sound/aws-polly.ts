import { GatewayError } from '../../../shared/errors.ts'
import { awsError } from '../bedrock/errors.ts'
import { exceptionName } from '../error-status.ts'
import { soundFormat, voiceOf } from '../own-fields.ts'
import { charactersOf, numberIn, type OwnSpeech, ownSpeech } from '../own-speech.ts'
import type { Provider } from '../provider.ts'

/** Amazon Polly's SynthesizeSpeech (https://docs.aws.amazon.com/polly/latest/dg/API_SynthesizeSpeech.html): the model is the engine. */
export function awsPolly(name: string): Provider {
  const decodeError: Provider['decodeError'] = (status, headers, body) => awsError(exceptionName(name), status, headers, body)
  return {
    name,
    auth: { type: 'made', kind: 'aws-polly' },
    base: null,
    keyNames: [],
    speech: ownSpeech(SPEECH, decodeError),
    decodeError,
  }
}

const ENGINES: ReadonlySet<string> = new Set(['standard', 'neural', 'long-form', 'generative'])
/** Voices for who asks for one of OpenAI's, the same that LiteLLM gives. */
const VOICES: Readonly<Record<string, string>> = {
  alloy: 'Joanna',
  echo: 'Matthew',
  fable: 'Amy',
  onyx: 'Brian',
  nova: 'Ivy',
  shimmer: 'Kendra',
}
/** Raw samples are 16,000 a second here, not OpenAI's 24,000: Polly knows no more. */
const FORMATS: Readonly<Record<string, string>> = { mp3: 'mp3', opus: 'ogg_opus', pcm: 'pcm' }
/** What a service of Amazon's calls itself, for who writes it as others do. */
const NAMES = { language_code: 'LanguageCode', lexicon_names: 'LexiconNames', sample_rate: 'SampleRate', text_type: 'TextType' }

const SPEECH: OwnSpeech = {
  rules: { unsupported: ['instructions', 'stream_format', 'speed'], rename: NAMES },
  encode({ input, rest }, request, target) {
    if (target.base === '') throw new GatewayError('bad_request', 'litellm.BadRequestError: the deployment needs an AWS region.')
    const engine = target.model.split('/').at(-1) as string
    const format = soundFormat(FORMATS, request, target, (own) => own) ?? 'mp3'
    const { SampleRate: rate, ...fields } = rest
    const body = {
      Engine: ENGINES.has(engine) ? engine : 'neural',
      OutputFormat: format,
      Text: input,
      TextType: /<speak[\s>]/.test(input) ? 'ssml' : 'text',
      VoiceId: voiceOf(request, VOICES) ?? 'Joanna',
      ...(rate === undefined ? {} : { SampleRate: String(rate) }),
      ...fields,
    }
    return {
      method: 'POST',
      url: `${target.base.replace(/\/v1\/speech$/, '')}/v1/speech`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }
  },
  units: (headers, context) => {
    const told = numberIn(headers['x-amzn-requestcharacters'])
    return told === null ? charactersOf(context) : { character_in: told }
  },
}
