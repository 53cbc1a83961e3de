import { describe, expect, it } from 'vitest'
import { encodeEmbedding } from './embedding.ts'
import { encode, target } from './encode.testkit.ts'
import { encodeRequest, modelUrl } from './request.ts'
import { openapiSchema } from './schema.ts'

const PRO_3 = { model: 'gemini-3-pro-preview' }
const FLASH_3 = { model: 'gemini-3-flash-preview' }
const WEATHER = {
  type: 'function',
  function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
}

describe('encodeRequest', () => {
  it('addresses the model by method, and streams as server-sent events', () => {
    const request = { model: 'group', messages: [{ role: 'user', content: 'Hi' }] }
    expect(encodeRequest(request, target()).url).toBe(
      'https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent',
    )
    expect(encodeRequest({ ...request, stream: true }, target()).url).toMatch(/:streamGenerateContent\?alt=sse$/)
  })

  it('adds the version to a bare host only, and keeps folders of tuned models', () => {
    expect(modelUrl(target({ base: 'https://example.com' }))).toBe('https://example.com/v1beta/models/gemini-2.5-flash')
    expect(modelUrl(target({ base: 'https://example.com', apiVersion: 'v1' }))).toMatch(/\/v1\/models\//)
    expect(modelUrl(target({ base: 'https://example.com/gemini' }))).toMatch(/\.com\/gemini\/models\//)
    expect(modelUrl(target({ model: 'tunedModels/mine' }))).toMatch(/v1beta\/tunedModels\/mine$/)
    expect(() => modelUrl(target({ base: '' }))).toThrow(/needs an api_base/)
  })

  it('translates every parameter it knows', () => {
    const { generationConfig, serviceTier } = encode({
      temperature: 0.5,
      top_p: 0.9,
      top_k: 4,
      n: 2,
      max_tokens: 10,
      max_completion_tokens: 20,
      stop: 'END',
      seed: 7,
      presence_penalty: 0.1,
      frequency_penalty: 0.2,
      logprobs: true,
      top_logprobs: 3,
      modalities: ['text', 'image'],
      audio: { voice: 'Kore', format: 'wav' },
      service_tier: 'flex',
    })
    expect(generationConfig).toEqual({
      temperature: 0.5,
      topP: 0.9,
      topK: 4,
      candidateCount: 2,
      maxOutputTokens: 20,
      stopSequences: ['END'],
      seed: 7,
      presencePenalty: 0.1,
      frequencyPenalty: 0.2,
      responseLogprobs: true,
      logprobs: 3,
      responseModalities: ['TEXT', 'IMAGE'],
      speechConfig: { voiceConfig: { prebuiltVoiceConfig: { voiceName: 'Kore' } } },
    })
    expect(serviceTier).toBe('flex')
  })

  it('passes its own parameters in either spelling to their places', () => {
    const safety = [{ category: 'HARM_CATEGORY_HARASSMENT', threshold: 'BLOCK_NONE' }]
    const body = encode({
      safety_settings: safety,
      media_resolution: 'MEDIA_RESOLUTION_LOW',
      generationConfig: { image_config: {} },
    })
    expect(body['safetySettings']).toEqual(safety)
    expect(body.generationConfig).toEqual({ mediaResolution: 'MEDIA_RESOLUTION_LOW', imageConfig: {} })
  })

  it('sends nothing beside a cache that the cache holds', () => {
    const messages = [
      { role: 'system', content: 'Long' },
      { role: 'user', content: 'Hi' },
    ]
    const body = encode({ messages, tools: [WEATHER], cached_content: 'cachedContents/x' })
    expect(Object.keys(body).sort()).toEqual(['cachedContent', 'contents'])
  })

  it('names all parameters without a counterpart, and leaves them out where it may', () => {
    const given = { logit_bias: { 5: 1 }, prediction: { type: 'content', content: 'x' }, user: 'me', store: true }
    expect(() => encode(given)).toThrow(expect.objectContaining({ code: 'unsupported_parameter', param: 'logit_bias' }))
    expect(() => encode(given)).toThrow(/\['logit_bias', 'prediction'\]/)
    expect(Object.keys(encode(given, { dropParams: true }))).toEqual(['contents'])
  })

  it('thinks by budget or by level, as the model does', () => {
    const config = (effort: string, changes = {}) =>
      encode({ reasoning_effort: effort }, changes).generationConfig?.['thinkingConfig']
    expect(config('none')).toEqual({ thinkingBudget: 0, includeThoughts: false })
    expect(config('none', { model: 'gemini-2.5-pro' })).toEqual({ thinkingBudget: 128, includeThoughts: false })
    expect(config('minimal', { model: 'gemini-2.5-flash-lite' })).toEqual({ thinkingBudget: 512, includeThoughts: true })
    expect(config('high')).toEqual({ thinkingBudget: 4096, includeThoughts: true })
    expect(config('none', FLASH_3)).toEqual({ thinkingLevel: 'MINIMAL', includeThoughts: false })
    expect(config('medium', FLASH_3)).toEqual({ thinkingLevel: 'MEDIUM', includeThoughts: true })
    expect(config('medium', PRO_3)).toEqual({ thinkingLevel: 'HIGH', includeThoughts: true })
    expect(config('minimal', PRO_3)).toEqual({ thinkingLevel: 'LOW', includeThoughts: true })
    expect(() => config('low', { model: 'gemini-2.0-flash' })).toThrow(/'reasoning_effort'/)
    expect(() => config('much')).toThrow(/reasoning_effort must be one of/)
    const { generationConfig } = encode({ thinking: { type: 'enabled', budget_tokens: 99 } })
    expect(generationConfig).toEqual({ thinkingConfig: { thinkingBudget: 99, includeThoughts: true } })
  })

  it('asks for JSON with the schema as it is, or in the older subset', () => {
    const schema = {
      type: 'object',
      properties: { a: { anyOf: [{ const: 'x' }, { type: 'null' }] } },
      additionalProperties: false,
    }
    const format = { type: 'json_schema', json_schema: { name: 'a', schema } }
    expect(encode({ response_format: format }).generationConfig).toEqual({
      responseMimeType: 'application/json',
      responseJsonSchema: { ...schema, properties: { a: { anyOf: [{ enum: ['x'] }, { type: 'null' }] } } },
    })
    expect(encode({ response_format: format }, { model: 'gemini-1.5-pro' }).generationConfig).toEqual({
      responseMimeType: 'application/json',
      responseSchema: { type: 'object', properties: { a: { type: 'string', enum: ['x'], nullable: true } } },
    })
    expect(encode({ response_format: { type: 'json_object' } }).generationConfig).toEqual({
      responseMimeType: 'application/json',
    })
  })

  it('puts definitions into the older subset, also ones that hold themselves', () => {
    const node = { type: ['object', 'null'], properties: { next: { $ref: '#/$defs/node' }, n: { type: ['integer', 'string'] } } }
    const { properties } = openapiSchema({ $defs: { node }, properties: { head: { $ref: '#/$defs/node' } } })
    expect(properties).toMatchObject({ head: { type: 'object', nullable: true, properties: { next: { type: 'object' } } } })
    expect(properties).toMatchObject({ head: { properties: { n: { anyOf: [{ type: 'integer' }, { type: 'string' }] } } } })
    expect(JSON.stringify(properties)).not.toContain('$ref')
  })

  it('keeps all functions in one entry, and chooses among them', () => {
    const choose = (choice: unknown) =>
      encode({ tools: [WEATHER], tool_choice: choice as 'auto' }).toolConfig?.['functionCallingConfig']
    expect(choose('auto')).toEqual({ mode: 'AUTO' })
    expect(choose('none')).toEqual({ mode: 'NONE' })
    expect(choose('required')).toEqual({ mode: 'ANY' })
    expect(choose({ type: 'function', function: { name: 'weather' } })).toEqual({
      mode: 'ANY',
      allowedFunctionNames: ['weather'],
    })
    const two = [WEATHER, { type: 'function', function: { name: 'now' } }, { googleSearch: {} } as never]
    expect(encode({ tools: two }).tools).toEqual([
      { functionDeclarations: [{ name: 'weather', parametersJsonSchema: WEATHER.function.parameters }, { name: 'now' }] },
      { googleSearch: {} },
    ])
    expect(() => encode({ tools: two, parallel_tool_calls: false })).toThrow(/'parallel_tool_calls'/)
    expect(encode({ tools: [WEATHER], parallel_tool_calls: false }).tools).toHaveLength(1)
    expect(encode({ web_search_options: {} }).tools).toEqual([{ googleSearch: {} }])
    expect(() => encode({ tools: [{ type: 'computer' }] })).toThrow(/tools\[0\] is of type computer/)
  })

  it('carries images, audio and documents, inline and by address', () => {
    const content = [
      { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
      { type: 'image_url', image_url: 'https://example.com/a.webp?x=1' },
      { type: 'input_audio', input_audio: { data: 'BBBB', format: 'mp3' } },
      { type: 'file', file: { file_data: 'data:application/pdf;base64,CCCC', filename: 'a.pdf' } },
      { type: 'file', file: { file_id: 'gs://bucket/b.mp4' } },
      { type: 'file', file: { file_id: 'https://generativelanguage.googleapis.com/v1beta/files/abc' } },
      { type: 'file', file: { file_id: 'https://youtu.be/xyz' } },
    ]
    expect(encode({ messages: [{ role: 'user', content }] }).contents[0]?.parts).toEqual([
      { inlineData: { mimeType: 'image/png', data: 'AAAA' } },
      { fileData: { mimeType: 'image/webp', fileUri: 'https://example.com/a.webp?x=1' } },
      { inlineData: { mimeType: 'audio/mp3', data: 'BBBB' } },
      { inlineData: { mimeType: 'application/pdf', data: 'CCCC' } },
      { fileData: { mimeType: 'video/mp4', fileUri: 'gs://bucket/b.mp4' } },
      { fileData: { fileUri: 'https://generativelanguage.googleapis.com/v1beta/files/abc' } },
      { fileData: { mimeType: 'video/mp4', fileUri: 'https://youtu.be/xyz' } },
    ])
    expect(() => encode({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: 'file-1' }] }] })).toThrow(
      expect.objectContaining({ param: 'messages[0].content[0].image_url' }),
    )
  })

  it('answers calls by name and id, media beside or inside by model', () => {
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
    const messages = [
      { role: 'user', content: 'Hi' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } },
          { id: 'b', type: 'function', function: { name: 'weather', arguments: '' } },
        ],
      },
      { role: 'tool', tool_call_id: 'a', content: '{"sun":true}' },
      { role: 'tool', tool_call_id: 'b', content: [{ type: 'text', text: 'rain' }, image] },
    ]
    const inline = { inlineData: { mimeType: 'image/png', data: 'AAAA' } }
    expect(encode({ messages }).contents.slice(1)).toEqual([
      {
        role: 'model',
        parts: [
          { functionCall: { id: 'a', name: 'weather', args: { city: 'Rome' } } },
          { functionCall: { id: 'b', name: 'weather', args: {} } },
        ],
      },
      {
        role: 'user',
        parts: [
          { functionResponse: { id: 'a', name: 'weather', response: { sun: true } } },
          { functionResponse: { id: 'b', name: 'weather', response: { content: 'rain' } } },
          inline,
        ],
      },
    ])
    const [, model, user] = encode({ messages }, FLASH_3).contents
    // The model refuses a step whose first call is unsigned.
    expect(model?.parts.map((part) => part['thoughtSignature'])).toEqual(['skip_thought_signature_validator', undefined])
    expect(user?.parts[1]).toMatchObject({ functionResponse: { parts: [inline] } })
    expect(() => encode({ messages: [{ role: 'tool', tool_call_id: 'x', content: '' }] })).toThrow(/belongs to no tool call/)
  })

  it('takes signatures from where clients keep them', () => {
    const signed = (call: object) =>
      encode({
        messages: [
          { role: 'user', content: 'Hi' },
          { role: 'assistant', tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' }, ...call }] },
        ],
      }).contents[1]?.parts[0]
    const call = { id: 'a', name: 'f', args: {} }
    for (const kept of [
      { provider_specific_fields: { thought_signature: 'S' } },
      { extra_content: { google: { thought_signature: 'S' } } },
      { id: 'a__thought__S' },
    ]) {
      expect(signed(kept)).toEqual({ functionCall: call, thoughtSignature: 'S' })
    }
  })

  it('puts system words first wherever they stand, and gives the user the first turn', () => {
    const system = { role: 'system', content: 'Be kind' }
    expect(encode({ messages: [{ role: 'assistant', content: 'Yes?' }, system] })).toEqual({
      systemInstruction: { parts: [{ text: 'Be kind' }] },
      contents: [
        { role: 'user', parts: [{ text: '.' }] },
        { role: 'model', parts: [{ text: 'Yes?' }] },
      ],
    })
    expect(encode({ messages: [system, { role: 'user', content: 'Hi' }] }, { model: 'gemma-3-27b-it' })).toEqual({
      contents: [{ role: 'user', parts: [{ text: 'Be kind' }, { text: 'Hi' }] }],
    })
  })
})

describe('encodeEmbedding', () => {
  it('asks for all texts at once', () => {
    const sent = encodeEmbedding(
      { model: 'group', input: ['a', 'b'], dimensions: 3, input_type: 'search_query' },
      target({ model: 'gemini-embedding-001' }),
    )
    expect(sent.url).toMatch(/v1beta\/models\/gemini-embedding-001:batchEmbedContents$/)
    const request = (text: string) => ({
      model: 'models/gemini-embedding-001',
      content: { parts: [{ text }] },
      outputDimensionality: 3,
      taskType: 'RETRIEVAL_QUERY',
    })
    expect(JSON.parse(sent.body as string)).toEqual({ requests: [request('a'), request('b')] })
  })

  it('refuses tokens and more texts than the service takes', () => {
    expect(() => encodeEmbedding({ model: 'g', input: [1, 2] }, target())).toThrow(/input\[0\] must be a text/)
    expect(() => encodeEmbedding({ model: 'g', input: Array(101).fill('a') as string[] }, target())).toThrow(/not 101/)
  })
})
