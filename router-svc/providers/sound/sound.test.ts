import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { SpeechRequest, SpeechResponse } from '../../canonical/speech.ts'
import type { TranscriptionRequest, TranscriptionResponse } from '../../canonical/transcription.ts'
import type { UploadedFile } from '../../canonical/uploaded-file.ts'
import { readForm } from '../../form.ts'
import { bytes, contextOf, json, play, targetOf } from '../images/target.testkit.ts'
import { providerOf } from '../index.ts'
import { haveRecordings } from '../openai/recordings.suite.ts'
import { wavOf } from '../own-speech.ts'
import type { Conversation, Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { soundLength } from '../sound-length.ts'

const FOLDER = new URL('../../../../shared/fixtures/', import.meta.url)
const RUBY = 'Ruby is a programming language designed for developer happiness.'
/** Two seconds. */
const FILE: UploadedFile = { name: 'ruby.wav', type: 'audio/wav', bytes: wavOf(new Uint8Array(96_000), 24_000) }

function served(name: string, model: string, fields: Partial<Target>) {
  const known = providerOf(name) as Provider
  const provider = known.serve?.(model, { baseModel: null, settings: {}, info: {} })?.provider ?? known
  return { provider, target: targetOf(name, provider, model, fields) }
}

function ear(name: string, model: string, fields: Partial<Target> = {}) {
  const { provider, target } = served(name, model, fields)
  const adapter = provider.transcription
  if (adapter === undefined) throw new Error(`${name} does not hear`)
  const asked = (request: Partial<TranscriptionRequest>): TranscriptionRequest => ({ model, file: FILE, ...request })
  return {
    provider,
    encode: (request: Partial<TranscriptionRequest> = {}) => adapter.encodeRequest(asked(request), target),
    decode: (answer: unknown, request: Partial<TranscriptionRequest> = {}) =>
      adapter.decodeResponse(json(answer).body, {}, contextOf(asked(request), model)),
    converse(request: Partial<TranscriptionRequest>, server: (request: UpstreamRequest) => UpstreamAnswer) {
      const conversation = adapter.converse?.(asked(request), target, contextOf(asked(request), model))
      return play(conversation as Conversation<TranscriptionResponse>, server)
    },
  }
}

function mouth(name: string, model: string, fields: Partial<Target> = {}) {
  const { provider, target } = served(name, model, fields)
  const adapter = provider.speech
  if (adapter === undefined) throw new Error(`${name} does not speak`)
  const asked = (request: Partial<SpeechRequest>): SpeechRequest => ({ model, input: 'Héllo 👋', voice: 'alloy', ...request })
  return {
    encode(request: Partial<SpeechRequest> = {}) {
      const sent = adapter.encodeRequest(asked(request), target)
      const body = String(sent.body)
      return { ...sent, body: body.startsWith('{') ? (JSON.parse(body) as Record<string, unknown>) : body }
    },
    forward: (headers: Record<string, string>, request: Partial<SpeechRequest> = {}) =>
      adapter.forward?.(headers, contextOf(asked(request), model)) ?? null,
    decode: (answer: unknown, request: Partial<SpeechRequest> = {}) =>
      adapter.decodeResponse(json(answer).body, {}, contextOf(asked(request), model)),
    converse(request: Partial<SpeechRequest>, server: (request: UpstreamRequest) => UpstreamAnswer) {
      const conversation = adapter.converse?.(asked(request), target, contextOf(asked(request), model))
      return play(conversation as Conversation<SpeechResponse>, server)
    },
  }
}

const recorded = (file: string) => JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8'))
const queryOf = (url: string) => Object.fromEntries(new URL(url).searchParams)
const headersOf = (headers: Record<string, string[]>) =>
  Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, values.join(', ')]))

/** Bytes after the vendors' documents, where nothing was recorded. */
describe('hearing', () => {
  const DEEPGRAM = {
    metadata: { duration: 2.5 },
    results: {
      channels: [
        {
          detected_language: 'en',
          alternatives: [
            {
              transcript: 'hello you good day',
              words: [
                { word: 'hello', punctuated_word: 'Hello', start: 0, end: 0.5, speaker: 0 },
                { word: 'you', punctuated_word: 'you.', start: 0.5, end: 1, speaker: 0 },
                { word: 'good', punctuated_word: 'Good', start: 1.2, end: 1.6, speaker: 1 },
                { word: 'day', punctuated_word: 'day.', start: 1.6, end: 2, speaker: 1 },
              ],
            },
          ],
        },
      ],
    },
  }

  it('of Deepgram sends the bytes as they are, and everything else in the address', () => {
    const sent = ear('deepgram', 'nova-3').encode({ language: 'de', smart_format: true, keyterm: ['a', 'b'] })
    expect(sent.url).toBe('https://api.deepgram.com/v1/listen?model=nova-3&language=de&smart_format=true&keyterm=a&keyterm=b')
    expect([sent.headers, sent.body]).toEqual([{ 'content-type': 'audio/wav' }, FILE.bytes])
    const timed = ear('deepgram', 'nova-3', { base: 'http://x.test' }).encode({ response_format: 'diarized_json' })
    expect(timed.url).toBe('http://x.test/v1/listen?model=nova-3&utterances=true&punctuate=true&diarize=true')
    expect(() => ear('deepgram', 'nova-3').encode({ prompt: 'p', temperature: 0.5 })).toThrow("['prompt', 'temperature']")
    const dropped = ear('deepgram', 'nova-3', { dropParams: true }).encode({ prompt: 'p' })
    expect(queryOf(dropped.url)).toEqual({ model: 'nova-3' })
  })

  it('is written in every form OpenAI has', () => {
    const deepgram = ear('deepgram', 'nova-3')
    const billing = { units: { audio_ms_in: 2500 } }
    const plain = deepgram.decode(DEEPGRAM)
    expect(plain).toEqual({
      text: 'hello you good day',
      usage: { type: 'duration', seconds: 3 },
      billing: expect.objectContaining(billing),
    })
    expect(deepgram.decode(DEEPGRAM, { response_format: 'text' })).toMatchObject({ raw: 'hello you good day\n', billing })
    expect(deepgram.decode(DEEPGRAM, { response_format: 'srt' }).raw).toBe(
      '1\n00:00:00,000 --> 00:00:01,000\nHello you.\n\n2\n00:00:01,200 --> 00:00:02,000\nGood day.\n\n',
    )
    expect(deepgram.decode(DEEPGRAM, { response_format: 'vtt' }).raw).toMatch(
      /^WEBVTT\n\n00:00:00\.000 --> 00:00:01\.000\nHello you\.\n/,
    )
    expect(deepgram.decode(DEEPGRAM, { response_format: 'verbose_json' })).toMatchObject({
      task: 'transcribe',
      language: 'en',
      duration: 2.5,
      text: 'hello you good day',
      segments: [
        { id: 0, start: 0, end: 1, text: 'Hello you.' },
        { id: 1, start: 1.2, end: 2, text: 'Good day.' },
      ],
      words: [{ word: 'Hello', start: 0, end: 0.5 }, {}, {}, { word: 'day.', start: 1.6, end: 2 }],
    })
    const diarized = deepgram.decode(DEEPGRAM, { response_format: 'diarized_json' })
    expect(diarized.segments?.map(({ speaker, text }) => [speaker, text])).toEqual([
      ['0', 'Hello you.'],
      ['1', 'Good day.'],
    ])
    expect(diarized).not.toHaveProperty('words')
  })

  it('of ElevenLabs is a form, its spaces and noises are no words, its speakers have names', async () => {
    const eleven = ear('elevenlabs', 'scribe_v1')
    const sent = eleven.encode({ language: 'en', response_format: 'diarized_json', temperature: 0.5, num_speakers: 2 })
    expect(sent.url).toBe('https://api.elevenlabs.io/v1/speech-to-text')
    expect(await readForm(sent.body as Uint8Array, sent.headers['content-type'])).toEqual({
      model_id: 'scribe_v1',
      language_code: 'en',
      diarize: 'true',
      temperature: '0.5',
      num_speakers: '2',
      file: expect.objectContaining({ name: 'ruby.wav', type: 'audio/wav' }),
    })
    const answer = eleven.decode(
      {
        language_code: 'eng',
        text: 'Hi. (laughs) Yes.',
        words: [
          { text: 'Hi.', start: 0, end: 0.5, type: 'word', speaker_id: 'speaker_0' },
          { text: ' ', start: 0.5, end: 0.6, type: 'spacing', speaker_id: 'speaker_0' },
          { text: '(laughs)', start: 0.6, end: 0.9, type: 'audio_event', speaker_id: 'speaker_1' },
          { text: 'Yes.', start: 1, end: 1.5, type: 'word', speaker_id: 'speaker_1' },
        ],
      },
      { response_format: 'diarized_json' },
    )
    expect(answer.segments?.map(({ speaker, text, end }) => [speaker, text, end])).toEqual([
      ['speaker_0', 'Hi.', 0.5],
      ['speaker_1', 'Yes.', 1.5],
    ])
    // The file says how long it is, silence after the last word included.
    expect(answer.billing?.units).toEqual({ audio_ms_in: 2000 })
  })

  it('of watsonx is OpenAI’s form with the project in it', async () => {
    const sent = ear('watsonx', 'openai/whisper-tiny', {
      base: 'https://us-south.ml.cloud.ibm.com',
      settings: { project_id: 'p' },
    }).encode({ language: 'en', response_format: 'srt' })
    expect(sent.url).toBe('https://us-south.ml.cloud.ibm.com/ml/v1/audio/transcriptions?version=2024-03-13')
    const form = await readForm(sent.body as Uint8Array, sent.headers['content-type'])
    expect(form).toMatchObject({ model: 'openai/whisper-tiny', project_id: 'p', language: 'en', response_format: 'verbose_json' })
  })

  it('of Cloudflare is bare bytes for the first Whisper, JSON for the later', () => {
    const base = 'https://api.cloudflare.com/client/v4/accounts/a/ai'
    const first = ear('cloudflare', '@cf/openai/whisper', { base })
    expect(first.encode()).toMatchObject({ url: `${base}/run/@cf/openai/whisper`, body: FILE.bytes })
    const words = [{ word: ' Hi', start: 0, end: 1 }]
    expect(first.decode({ result: { text: 'Hi', words }, success: true }, { response_format: 'srt' }).raw).toContain(
      '00:00:01,000\nHi',
    )
    const later = ear('cloudflare', '@cf/openai/whisper-large-v3-turbo', { base })
    const body = JSON.parse(String(later.encode({ prompt: 'p', language: 'de' }).body))
    expect(body).toEqual({ audio: Buffer.from(FILE.bytes).toString('base64'), initial_prompt: 'p', language: 'de' })
    const heard = later.decode({ result: { text: 'Hi', transcription_info: { language: 'de', duration: 4 } }, success: true })
    expect(heard.billing?.units).toEqual({ audio_ms_in: 4000 })
    expect(() => later.decode({ success: false, errors: [{ code: 3040, message: 'no capacity' }] })).toThrow('no capacity')
  })

  it('is refused by name where an event stream is asked for', () => {
    for (const [name, model] of [
      ['deepgram', 'nova-3'],
      ['elevenlabs', 'scribe_v1'],
      ['cohere', 'cohere-transcribe-03-2026'],
      ['fal_ai', 'fal-ai/whisper'],
    ] as const) {
      expect(() => ear(name, model).encode({ stream: true }), name).toThrow("['stream']")
    }
  })

  it('tells errors in LiteLLM’s grammar, a used-up account apart from a wrong key', () => {
    const deepgram = ear('deepgram', 'nova-3').provider
    expect(deepgram.decodeError(401, {}, '{"err_code":"INVALID_AUTH","err_msg":"Invalid credentials."}')).toMatchObject({
      code: 'provider_authentication',
      providerCode: 'INVALID_AUTH',
      message: expect.stringContaining('DeepgramException - Invalid credentials.'),
    })
    const payment = '{"err_code":"ASR_PAYMENT_REQUIRED","err_msg":"Project does not have enough credits."}'
    expect(deepgram.decodeError(402, {}, payment).code).toBe('provider_quota')
    const eleven = ear('elevenlabs', 'scribe_v1').provider
    const detail = (status: string, message: string) => JSON.stringify({ detail: { status, message } })
    expect(eleven.decodeError(401, {}, detail('quota_exceeded', 'No credits left.')).code).toBe('provider_quota')
    expect(eleven.decodeError(401, {}, detail('invalid_api_key', 'Invalid API key')).code).toBe('provider_authentication')
    const invalid = '{"detail":[{"loc":["body","file"],"msg":"field required","type":"missing"}]}'
    expect(eleven.decodeError(422, {}, invalid).message).toContain('ElevenlabsException - body.file: field required')
  })
})

describe('a transcription that is polled', () => {
  const DONE = {
    id: 't1',
    status: 'completed',
    text: 'Hi. Yes.',
    audio_duration: 2,
    language_code: 'en',
    words: [
      { text: 'Hi.', start: 0, end: 500, speaker: 'A' },
      { text: 'Yes.', start: 1000, end: 1500, speaker: 'B' },
    ],
    utterances: null,
  }
  const server =
    (states: unknown[]) =>
    ({ method, url }: UpstreamRequest) => {
      if (url.endsWith('/upload')) return json({ upload_url: 'https://cdn.assemblyai.com/upload/1' })
      return json(method === 'POST' ? { id: 't1', status: 'queued' } : states.shift())
    }

  it('is uploaded, made, asked after every three seconds, and read', () => {
    const { result, sent, pauses } = ear('assemblyai', 'universal').converse(
      { response_format: 'diarized_json', word_boost: ['x'] },
      server([{ id: 't1', status: 'processing' }, DONE]),
    )
    expect(sent.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'POST https://api.assemblyai.com/v2/upload',
      'POST https://api.assemblyai.com/v2/transcript',
      'GET https://api.assemblyai.com/v2/transcript/t1',
      'GET https://api.assemblyai.com/v2/transcript/t1',
    ])
    expect(sent[0]?.body).toBe(FILE.bytes)
    expect(JSON.parse(String(sent[1]?.body))).toEqual({
      audio_url: 'https://cdn.assemblyai.com/upload/1',
      speech_models: ['universal'],
      language_detection: true,
      speaker_labels: true,
      word_boost: ['x'],
    })
    expect(pauses).toEqual([0, 0, 3000, 3000])
    expect(result).toMatchObject({
      duration: 2,
      segments: [
        { start: 0, end: 0.5, speaker: 'A', text: 'Hi.' },
        { start: 1, end: 1.5, speaker: 'B', text: 'Yes.' },
      ],
      billing: { units: { audio_ms_in: 2000 } },
    })
  })

  it('that failed is the client’s fault where its file is, else the service’s', () => {
    const failing = (error: string) => () => ear('assemblyai', 'best').converse({}, server([{ status: 'error', error }]))
    expect(failing('Transcoding failed. File does not appear to contain audio.')).toThrow(
      expect.objectContaining({ code: 'provider_bad_request', message: expect.stringContaining('AssemblyaiException') }),
    )
    expect(failing('Server error, please retry.')).toThrow(expect.objectContaining({ code: 'provider_error' }))
  })

  it('whose id is none is not asked after', () => {
    const answer = ({ url }: UpstreamRequest) =>
      json(url.endsWith('/upload') ? { upload_url: 'u' } : { id: '../x', status: 'queued' })
    expect(() => ear('assemblyai', 'best').converse({}, answer)).toThrow('no id')
  })
})

describe('speech', () => {
  it('of ElevenLabs is asked of a voice by its id, in a format of its own', () => {
    const eleven = mouth('elevenlabs', 'eleven_multilingual_v2')
    expect(eleven.encode({ speed: 1.1, seed: 7, voice_settings: { stability: 0.5 } })).toMatchObject({
      url: 'https://api.elevenlabs.io/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM?output_format=mp3_44100_128',
      body: { text: 'Héllo 👋', model_id: 'eleven_multilingual_v2', seed: 7, voice_settings: { speed: 1.1, stability: 0.5 } },
    })
    const own = eleven.encode({ voice: { voice_id: 'my/Voice' }, response_format: 'pcm', enable_logging: false })
    expect(own.url).toBe('https://api.elevenlabs.io/v1/text-to-speech/my%2FVoice?output_format=pcm_24000&enable_logging=false')
    expect(queryOf(eleven.encode({ response_format: 'ulaw_8000' }).url)).toEqual({ output_format: 'ulaw_8000' })
    expect(() => eleven.encode({ response_format: 'flac' })).toThrow('response_format')
    expect(() => eleven.encode({ instructions: 'sadly' })).toThrow("['instructions']")
    const dropping = mouth('elevenlabs', 'eleven_multilingual_v2', { dropParams: true })
    expect(queryOf(dropping.encode({ response_format: 'flac', instructions: 'sadly' }).url)).toEqual({
      output_format: 'mp3_44100_128',
    })
    const forwarded = eleven.forward({ 'content-type': 'audio/mpeg', 'character-cost': '4' })
    expect([forwarded?.contentType, forwarded?.usage().units]).toEqual(['audio/mpeg', { character_in: 7, credit: 4 }])
  })

  it('of Deepgram has a model for a voice, and containers only where there is a choice', () => {
    const deepgram = mouth('deepgram', 'aura-2-thalia-en')
    const asked = (response_format: string) => queryOf(deepgram.encode({ response_format }).url)
    const model = 'aura-2-thalia-en'
    expect(asked('mp3')).toEqual({ model, encoding: 'mp3' })
    expect(asked('wav')).toEqual({ model, encoding: 'linear16', container: 'wav', sample_rate: '24000' })
    expect(asked('pcm')).toEqual({ model, encoding: 'linear16', container: 'none', sample_rate: '24000' })
    expect(asked('mulaw')).toEqual({ model, encoding: 'mulaw' })
    expect(queryOf(deepgram.encode({ voice: 'aura-2-zeus-en' }).url)['model']).toBe('aura-2-zeus-en')
  })

  it('of Polly is an engine’s, in its own words', () => {
    const base = 'https://polly.eu-west-1.amazonaws.com'
    const polly = mouth('aws_polly', 'generative', { base })
    expect(polly.encode({ language_code: 'de-DE', sample_rate: 16_000 })).toMatchObject({
      url: `${base}/v1/speech`,
      body: {
        Engine: 'generative',
        OutputFormat: 'mp3',
        Text: 'Héllo 👋',
        TextType: 'text',
        VoiceId: 'Joanna',
        LanguageCode: 'de-DE',
        SampleRate: '16000',
      },
    })
    expect(polly.encode({ input: '<speak>Hi</speak>', voice: 'Vicki' }).body).toMatchObject({
      TextType: 'ssml',
      VoiceId: 'Vicki',
    })
    expect(() => polly.encode({ response_format: 'wav' })).toThrow('mp3, opus, pcm')
    const told = polly.forward({ 'content-type': 'audio/mpeg', 'x-amzn-requestcharacters': '6' })
    expect(told?.usage().units).toEqual({ character_in: 6 })
  })

  it('of Azure’s service is markup in which nothing of the text is any', () => {
    const azure = mouth('azure', 'speech/azure-tts', { base: 'https://eastus.api.cognitive.microsoft.com' })
    const sent = azure.encode({ input: 'a < b & "c"', speed: 1.25, style: 'cheerful"' })
    expect(sent.url).toBe('https://eastus.tts.speech.microsoft.com/cognitiveservices/v1')
    expect(sent.headers).toMatchObject({ 'x-microsoft-outputformat': 'audio-24khz-48kbitrate-mono-mp3' })
    expect(sent.body).toContain('<voice name="en-US-JennyNeural"><mstts:express-as style="cheerful&quot;">')
    expect(sent.body).toContain('<prosody rate="+25%">a &lt; b &amp; &quot;c&quot;</prosody>')
    expect(mouth('azure', 'tts-1', { base: 'https://r.openai.azure.com' }).encode().url).toContain(
      '/openai/deployments/tts-1/audio/speech',
    )
  })

  const SAMPLES = Buffer.alloc(48_000)
  const GEMINI = {
    candidates: [
      { content: { parts: [{ inlineData: { mimeType: 'audio/L16;codec=pcm;rate=24000', data: SAMPLES.toString('base64') } }] } },
    ],
    usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 25, totalTokenCount: 30 },
  }

  it.each([
    ['gemini', {}, 'https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash-preview-tts:generateContent'],
    [
      'vertex_ai',
      { base: 'https://us-central1-aiplatform.googleapis.com/projects/p/locations/us-central1' },
      'https://us-central1-aiplatform.googleapis.com/v1beta1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash-preview-tts:generateContent',
    ],
  ] as const)('of Gemini’s models (%s) is a chat whose samples get a header', (name, fields, url) => {
    const gemini = mouth(name, 'gemini-2.5-flash-preview-tts', fields)
    const sent = gemini.encode({ voice: 'Puck', instructions: 'Say cheerfully:' })
    expect(sent).toMatchObject({
      url,
      body: {
        contents: [{ role: 'user', parts: [{ text: 'Say cheerfully:\n\nHéllo 👋' }] }],
        generationConfig: {
          responseModalities: ['AUDIO'],
          speechConfig: { voiceConfig: { prebuiltVoiceConfig: { voiceName: 'Puck' } } },
        },
      },
    })
    expect(gemini.forward({ 'content-type': 'application/json; charset=UTF-8' })).toBeNull()
    const { audio, contentType, billing } = gemini.decode(GEMINI)
    expect([contentType, soundLength(audio)]).toEqual(['audio/wav', { milliseconds: 1000, exact: true }])
    expect(billing).toMatchObject({ input: 5, output: 25, audioOutput: 25, units: { audio_ms_out: 1000, character_in: 7 } })
    expect(gemini.decode(GEMINI, { response_format: 'pcm' }).audio).toEqual(SAMPLES)
    expect(() => gemini.encode({ response_format: 'mp3' })).toThrow('wav, pcm')
    const blocked = { promptFeedback: { blockReason: 'PROHIBITED_CONTENT' } }
    expect(() => gemini.decode(blocked)).toThrow(expect.objectContaining({ code: 'content_policy' }))
    expect(() => gemini.decode({ candidates: [{ finishReason: 'OTHER' }] })).toThrow('no sound')
  })

  it('of Google’s cloud is a voice’s, its language that of its name', () => {
    const base = 'https://us-central1-aiplatform.googleapis.com/projects/p/locations/us-central1'
    const google = mouth('vertex_ai', 'chirp', { base })
    expect(google.encode({ voice: 'de-DE-Chirp3-HD-Kore', speed: 1.5, response_format: 'pcm' })).toMatchObject({
      url: 'https://texttospeech.googleapis.com/v1/text:synthesize',
      body: {
        input: { text: 'Héllo 👋' },
        voice: { languageCode: 'de-DE', name: 'de-DE-Chirp3-HD-Kore' },
        audioConfig: { audioEncoding: 'PCM', sampleRateHertz: 24_000, speakingRate: 1.5 },
      },
    })
    expect(google.encode().body).toMatchObject({ voice: { name: 'en-US-Studio-O' }, audioConfig: { audioEncoding: 'MP3' } })
    const { audio, contentType, billing } = google.decode({ audioContent: 'SUQz' })
    expect([Buffer.from(audio).toString(), contentType, billing?.units]).toEqual(['ID3', 'audio/mpeg', { character_in: 7 }])
  })

  it('of RunwayML is a task whose outcome is fetched', () => {
    const runway = mouth('runwayml', 'eleven_multilingual_v2')
    const server =
      (states: unknown[]) =>
      ({ method, url }: UpstreamRequest): UpstreamAnswer => {
        if (url === 'https://cdn.test/a.mp3') return bytes('ID3', 'audio/mpeg')
        return json(method === 'POST' ? { id: 'task-1' } : states.shift())
      }
    const { result, sent, pauses } = runway.converse(
      {},
      server([{ status: 'RUNNING' }, { status: 'SUCCEEDED', output: ['https://cdn.test/a.mp3'] }]),
    )
    expect(JSON.parse(String(sent[0]?.body))).toEqual({
      model: 'eleven_multilingual_v2',
      promptText: 'Héllo 👋',
      voice: { type: 'runway-preset', presetId: 'Maya' },
    })
    expect(sent.map(({ url }) => url.replace('https://api.dev.runwayml.com/v1', ''))).toEqual([
      '/text_to_speech',
      '/tasks/task-1',
      '/tasks/task-1',
      'https://cdn.test/a.mp3',
    ])
    expect(sent.slice(0, 3).map(({ headers }) => headers['x-runway-version'])).toEqual(Array(3).fill('2024-11-06'))
    expect(pauses).toEqual([0, 2000, 2000, 0])
    expect(result).toMatchObject({ contentType: 'audio/mpeg', billing: { units: { character_in: 7 } } })
    const ending = (state: object) => () => runway.converse({}, server([state]))
    expect(ending({ status: 'FAILED', failure: 'no', failureCode: 'SAFETY.INPUT.TEXT' })).toThrow(
      expect.objectContaining({ code: 'content_policy' }),
    )
    expect(ending({ status: 'FAILED', failure: 'An unexpected error occurred.' })).toThrow(
      expect.objectContaining({ code: 'provider_error' }),
    )
  })

  it('of Cloudflare is base64 or bytes, by the model', () => {
    const base = 'https://api.cloudflare.com/client/v4/accounts/a/ai/v1'
    const melo = mouth('cloudflare', '@cf/myshell-ai/melotts', { base })
    expect(melo.encode({ voice: 'fr' })).toMatchObject({
      url: 'https://api.cloudflare.com/client/v4/accounts/a/ai/run/@cf/myshell-ai/melotts',
      body: { prompt: 'Héllo 👋', lang: 'fr' },
    })
    expect(Buffer.from(melo.decode({ result: { audio: 'SUQz' }, success: true }).audio).toString()).toBe('ID3')
    const aura = mouth('cloudflare', '@cf/deepgram/aura-1', { base })
    expect(aura.encode({ response_format: 'wav' }).body).toEqual({ text: 'Héllo 👋', encoding: 'linear16', container: 'wav' })
    expect(aura.forward({ 'content-type': 'audio/mpeg' })?.usage().units).toEqual({ character_in: 7 })
  })
})

describe.skipIf(!haveRecordings())('recorded sounds', () => {
  it('of Deepgram are asked for as they were, and read with their speakers', () => {
    const file = 'deepgram/stt__ruby_llm__providers_deepgram_audio_labels_words_with_speakers_when_speaker_-de1fb3.json'
    const [{ request, response }] = recorded(file).exchanges
    const deepgram = ear('deepgram', 'nova-3-general')
    const asked = { language: 'en', smart_format: true, utterances: true, diarize_model: 'latest' }
    const sent = deepgram.encode(asked)
    expect(queryOf(sent.url)).toEqual(queryOf(request.url))
    expect(new URL(sent.url).pathname).toBe(new URL(request.url).pathname)
    expect([sent.headers['content-type']]).toEqual(request.headers['content-type'])
    const heard = deepgram.decode(JSON.parse(response.body), { ...asked, response_format: 'diarized_json' })
    expect(heard).toMatchObject({
      text: RUBY,
      duration: 3.6999376,
      segments: [{ speaker: '0', text: RUBY }],
      billing: { units: { audio_ms_in: 3700 } },
    })
  })

  it('of Deepgram, without utterances, are cut where the speaker pauses for breath', () => {
    const answer = recorded('deepgram/stt__vercel-ai__deepgram-transcription.json')
    const heard = ear('deepgram', 'nova-3').decode(answer, { response_format: 'verbose_json' })
    expect(heard.text).toMatch(/^galileo was an american robotic/)
    expect(heard.words?.[0]).toMatchObject({ word: 'galileo', start: 0.16 })
    expect(heard.segments?.length).toBeGreaterThan(3)
    expect(heard.billing?.units).toEqual({ audio_ms_in: 36_744 })
  })

  it('of ElevenLabs, Cohere and fal.ai are read', async () => {
    const eleven = ear('elevenlabs', 'scribe_v1').decode(recorded('elevenlabs/stt__vercel-ai__elevenlabs-transcription.json'), {
      response_format: 'srt',
    })
    expect(eleven.raw).toBe('1\n00:00:00,199 --> 00:00:02,479\nHello from the Vercel AI SDK.\n\n')
    const file = 'cohere/stt__ruby_llm__transcription_basic_functionality_cohere_cohere-transcribe-03-202-470797.json'
    const [{ request, response }] = recorded(file).exchanges
    const cohere = ear('cohere', 'cohere-transcribe-03-2026')
    const sent = cohere.encode({ language: 'en' })
    expect(sent.url).toBe(request.url)
    const form = (await readForm(sent.body as Uint8Array, sent.headers['content-type'])) as Record<string, unknown>
    expect(Object.keys(form).sort()).toEqual(request.body.map(({ name }: { name: string }) => name).sort())
    expect(cohere.decode(JSON.parse(response.body))).toMatchObject({
      text: ` ${RUBY}`,
      billing: { units: { audio_ms_in: 2000 } },
    })
    expect(cohere.decode(JSON.parse(response.body), { response_format: 'srt' }).raw).toContain(`00:00:02,000\n${RUBY}`)
    const fal = ear('fal_ai', 'fal-ai/whisper')
    const [whisper] = recorded(
      'fal/audio-in__huggingface_hub__TestInferenceClient.test_automatic_speech_recognition_fal-ai_auto-d0a408-76cb.json',
    ).exchanges
    expect(Object.keys(JSON.parse(String(fal.encode().body)))).toEqual(Object.keys(whisper.request.body))
    expect(fal.decode(JSON.parse(whisper.response.body), { response_format: 'verbose_json' })).toMatchObject({
      text: ' A man said to the universe, Sir, I exist.',
      language: 'en',
      segments: [{ start: 0, end: 4.08 }],
    })
    expect(fal.decode(recorded('fal/stt__vercel-ai__fal-transcription-result.json'))).toMatchObject({
      text: 'Hello from the Versal AISDK.',
    })
  })

  it('spoken by Deepgram are asked for as they were, and cost the characters it counted', () => {
    const [{ request, response }] = recorded(
      'deepgram/tts__ruby_llm__providers_deepgram_audio_speaks_text_with_aura-2.json',
    ).exchanges
    const deepgram = mouth('deepgram', 'aura-2-thalia-en')
    const sent = deepgram.encode({ input: RUBY })
    expect([queryOf(sent.url), sent.body]).toEqual([queryOf(request.url), request.body])
    const forwarded = deepgram.forward(headersOf(response.headers))
    expect([forwarded?.contentType, forwarded?.usage().units]).toEqual(['audio/mpeg', { character_in: 64 }])
  })
})
