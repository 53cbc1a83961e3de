import type { EndpointName } from '../../proto/endpoints.ts'

/** Valid bodies of every inference endpoint, with as much of each protocol as one request may hold. `model` is put in by whoever sends them. */
type Body = Readonly<Record<string, unknown>>

const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
const SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string', enum: ['Rome', 'Oslo'] }, days: { type: ['integer', 'null'], minimum: 1 } },
  required: ['city'],
  additionalProperties: false,
}

const CHAT: readonly Body[] = [
  { messages: [{ role: 'user', content: 'Say one word.' }], max_tokens: 5 },
  {
    messages: [
      { role: 'system', content: 'Be brief.' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is it?' },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${PIXEL}`, detail: 'low' } },
        ],
      },
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } }],
      },
      { role: 'tool', tool_call_id: 'call_1', content: 'Sunny' },
      { role: 'user', content: 'And tomorrow?', name: 'Ada' },
    ],
    tools: [{ type: 'function', function: { name: 'weather', description: 'The weather', parameters: SCHEMA, strict: true } }],
    tool_choice: { type: 'function', function: { name: 'weather' } },
    parallel_tool_calls: false,
    temperature: 0.5,
    top_p: 0.9,
    n: 1,
    stop: ['END'],
    seed: 7,
    logit_bias: { '50256': -100 },
    logprobs: true,
    top_logprobs: 2,
    user: 'user-1',
    metadata: { tags: ['a', 'b'], trace: 'x' },
  },
  {
    stream: true,
    stream_options: { include_usage: true },
    messages: [
      { role: 'developer', content: 'x' },
      {
        role: 'user',
        content: [
          { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
          { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,AAAA' } },
        ],
      },
    ],
    response_format: { type: 'json_schema', json_schema: { name: 'trip', schema: SCHEMA, strict: true } },
    reasoning_effort: 'low',
    max_completion_tokens: 20,
    modalities: ['text'],
    fallbacks: ['mock'],
    num_retries: 0,
    timeout: 20,
    cache: { 'no-cache': true, ttl: 5, namespace: 'n' },
    guardrails: [],
    tags: ['one'],
  },
]

const ANTHROPIC: Body = {
  max_tokens: 20,
  system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }],
  messages: [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'What is it?' },
        { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PIXEL } },
        { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'd' }, citations: { enabled: true } },
      ],
    },
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'hm', signature: 's' },
        { type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Rome' } },
      ],
    },
    {
      role: 'user',
      content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: [{ type: 'text', text: 'Sunny' }], is_error: false }],
    },
  ],
  tools: [
    { name: 'weather', description: 'd', input_schema: SCHEMA },
    { type: 'web_search_20250305', name: 'web_search', max_uses: 1 },
  ],
  tool_choice: { type: 'auto', disable_parallel_tool_use: true },
  thinking: { type: 'enabled', budget_tokens: 1024 },
  stop_sequences: ['END'],
  temperature: 1,
  top_k: 5,
  top_p: 0.9,
  metadata: { user_id: 'u' },
}

const GEMINI: Body = {
  systemInstruction: { parts: [{ text: 'Be brief.' }] },
  contents: [
    { role: 'user', parts: [{ text: 'What is it?' }, { inlineData: { mimeType: 'image/png', data: PIXEL } }] },
    { role: 'model', parts: [{ functionCall: { name: 'weather', args: { city: 'Rome' } } }] },
    {
      role: 'user',
      parts: [
        { functionResponse: { name: 'weather', response: { text: 'Sunny' } } },
        { fileData: { mimeType: 'text/plain', fileUri: 'gs://a/b' } },
      ],
    },
  ],
  tools: [
    {
      functionDeclarations: [
        { name: 'weather', description: 'd', parameters: { type: 'OBJECT', properties: { city: { type: 'STRING' } } } },
      ],
    },
    { googleSearch: {} },
  ],
  toolConfig: { functionCallingConfig: { mode: 'ANY', allowedFunctionNames: ['weather'] } },
  generationConfig: {
    temperature: 0.5,
    maxOutputTokens: 20,
    stopSequences: ['END'],
    responseMimeType: 'application/json',
    responseSchema: { type: 'OBJECT', properties: { a: { type: 'STRING' } } },
    thinkingConfig: { thinkingBudget: 0 },
    candidateCount: 1,
  },
  safetySettings: [{ category: 'HARM_CATEGORY_HARASSMENT', threshold: 'BLOCK_NONE' }],
}

const RESPONSES: readonly Body[] = [
  { input: 'Say one word.', store: false },
  {
    instructions: 'Be brief.',
    input: [
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'What is it?' },
          { type: 'input_image', image_url: `data:image/png;base64,${PIXEL}` },
        ],
      },
      { type: 'function_call', call_id: 'call_1', name: 'weather', arguments: '{"city":"Rome"}' },
      { type: 'function_call_output', call_id: 'call_1', output: 'Sunny' },
      { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'hm' }] },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'a', annotations: [] }] },
      { type: 'item_reference', id: 'msg_1' },
    ],
    tools: [
      { type: 'function', name: 'weather', parameters: SCHEMA, strict: true },
      { type: 'web_search_preview' },
      { type: 'custom', name: 'c', format: { type: 'grammar', syntax: 'lark', definition: 'a' } },
    ],
    tool_choice: { type: 'function', name: 'weather' },
    text: { format: { type: 'json_schema', name: 'trip', schema: SCHEMA } },
    reasoning: { effort: 'low', summary: 'auto' },
    max_output_tokens: 20,
    previous_response_id: 'resp_1',
    include: ['reasoning.encrypted_content'],
    truncation: 'auto',
    metadata: { a: 'b' },
    stream: true,
    store: true,
  },
]

const IMAGE: Body = {
  prompt: 'A cat',
  n: 1,
  size: '1024x1024',
  quality: 'standard',
  style: 'vivid',
  response_format: 'b64_json',
  user: 'u',
}

export const BODIES: Readonly<Record<EndpointName, readonly Body[]>> = {
  acompletion: CHAT,
  atext_completion: [
    { prompt: 'Once', max_tokens: 5, temperature: 0, stop: '\n', suffix: '.', echo: true, logprobs: 1, best_of: 1, n: 1 },
    { prompt: ['Once', 'Twice'], stream: true, max_tokens: 5, stream_options: { include_usage: true } },
    { prompt: [[1, 2, 3], [4]], max_tokens: 5, logit_bias: { '1': 2 } },
  ],
  aembedding: [
    { input: 'word', encoding_format: 'float', dimensions: 8, user: 'u' },
    { input: ['one', 'two'], encoding_format: 'base64', input_type: 'search_query' },
    { input: [[1, 2], [3]] },
  ],
  anthropic_messages: [
    ANTHROPIC,
    { ...ANTHROPIC, stream: true, thinking: { type: 'disabled' } },
    { max_tokens: 5, messages: [{ role: 'user', content: 'Hi' }] },
  ],
  aresponses: RESPONSES,
  agenerate_content: [GEMINI, { contents: [{ parts: [{ text: 'Hi' }] }] }],
  agenerate_content_stream: [GEMINI, { contents: [{ parts: [{ text: 'Hi' }] }] }],
  anthropic_count_tokens: [ANTHROPIC],
  google_count_tokens: [{ contents: GEMINI['contents'] }, { generateContentRequest: GEMINI }],
  google_embed_content: [{ content: { parts: [{ text: 'word' }] }, taskType: 'RETRIEVAL_QUERY', outputDimensionality: 8 }],
  google_batch_embed_contents: [
    { requests: [{ model: 'models/mock', content: { parts: [{ text: 'one' }] } }, { content: { parts: [{ text: 'two' }] } }] },
  ],
  arerank: [
    {
      query: 'cat',
      documents: ['a cat', { text: 'a dog', title: 't' }],
      top_n: 1,
      rank_fields: ['text'],
      return_documents: true,
      max_chunks_per_doc: 2,
    },
  ],
  amoderation: [
    { input: 'bad' },
    {
      input: [
        { type: 'text', text: 'bad' },
        { type: 'image_url', image_url: { url: `data:image/png;base64,${PIXEL}` } },
      ],
    },
  ],
  aimage_generation: [
    IMAGE,
    { ...IMAGE, background: 'transparent', output_format: 'webp', output_compression: 50, moderation: 'low', stream: false },
  ],
  aimage_edit: [{ ...IMAGE, image: `data:image/png;base64,${PIXEL}`, mask: `data:image/png;base64,${PIXEL}` }],
  aimage_variation: [{ n: 1, size: '512x512', image: `data:image/png;base64,${PIXEL}` }],
  aspeech: [{ input: 'Hello', voice: 'alloy', response_format: 'mp3', speed: 1, instructions: 'softly', stream_format: 'audio' }],
  atranscription: [
    {
      file: 'data:audio/wav;base64,AAAA',
      language: 'en',
      prompt: 'p',
      response_format: 'verbose_json',
      temperature: 0,
      timestamp_granularities: ['word', 'segment'],
      include: ['logprobs'],
      stream: false,
    },
  ],
  atranslation: [{ file: 'data:audio/wav;base64,AAAA', prompt: 'p', response_format: 'json', temperature: 0 }],
}
