/**
 * OpenAI's Responses API on the wire, both as clients send it to the gateway and as providers answer it. Types name what the gateway
 * reads; unknown fields, items and events survive at every level. Field meanings: OpenAI API reference, `/responses`.
 */

type Fields = Record<string, unknown>

export interface ResponsesRequest {
  model: string
  input?: string | InputItem[]
  instructions?: string | InputItem[] | null
  max_output_tokens?: number | null
  max_tool_calls?: number | null
  metadata?: Record<string, unknown> | null
  parallel_tool_calls?: boolean | null
  previous_response_id?: string | null
  conversation?: string | { id: string } | null
  prompt?: { id: string; version?: string | null; variables?: Fields | null } | null
  prompt_cache_key?: string | null
  prompt_cache_retention?: string | null
  reasoning?: { effort?: string | null; summary?: string | null; [field: string]: unknown } | null
  safety_identifier?: string | null
  service_tier?: string | null
  /** The provider's default is true. */
  store?: boolean | null
  stream?: boolean | null
  stream_options?: { include_obfuscation?: boolean; [field: string]: unknown } | null
  temperature?: number | null
  top_p?: number | null
  top_logprobs?: number | null
  text?: { format?: TextFormat; verbosity?: string | null; [field: string]: unknown } | null
  tool_choice?: ResponsesToolChoice | null
  tools?: ResponsesTool[]
  truncation?: string | null
  background?: boolean | null
  include?: string[] | null
  user?: string | null
  [field: string]: unknown
}

export type TextFormat =
  | { type: 'text' }
  | { type: 'json_object' }
  | { type: 'json_schema'; name: string; schema: Fields; strict?: boolean | null; description?: string }
  | { type: string; [field: string]: unknown }

/** Flat, unlike chat's: a function's name and parameters stand beside `type`. Hosted tools are known by `type` alone. */
export interface ResponsesTool {
  type: 'function' | 'custom' | string
  name?: string
  description?: string
  parameters?: Fields | null
  strict?: boolean | null
  [field: string]: unknown
}

export type ResponsesToolChoice = 'none' | 'auto' | 'required' | { type: string; name?: string; [field: string]: unknown }

export interface InputText {
  type: 'input_text'
  text: string
  [field: string]: unknown
}
export interface InputImage {
  type: 'input_image'
  image_url?: string | null
  file_id?: string | null
  detail?: string
  [field: string]: unknown
}
export interface InputFile {
  type: 'input_file'
  file_id?: string | null
  file_data?: string
  file_url?: string
  filename?: string
  [field: string]: unknown
}
/** What an assistant's turn holds when it is given back as input, too. */
export interface OutputText {
  type: 'output_text'
  text: string
  annotations: Annotation[]
  logprobs?: ResponsesLogprob[]
  [field: string]: unknown
}
export interface OutputRefusal {
  type: 'refusal'
  refusal: string
  [field: string]: unknown
}
export interface OtherContent {
  type: string
  [field: string]: unknown
}
export type InputContent = InputText | InputImage | InputFile | OutputText | OutputRefusal | OtherContent
export type OutputContent = OutputText | OutputRefusal | OtherContent

/** `url_citation`, `file_citation`, `container_file_citation`, `file_path`. */
export interface Annotation {
  type: string
  url?: string
  title?: string
  start_index?: number
  end_index?: number
  [field: string]: unknown
}

export interface ResponsesLogprob {
  token: string
  logprob: number
  bytes?: number[]
  top_logprobs?: { token: string; logprob: number; bytes?: number[] }[]
  [field: string]: unknown
}

/** A message as input; the short form has no `type`. */
export interface InputMessage {
  type?: 'message'
  role: 'user' | 'assistant' | 'system' | 'developer' | string
  content: string | InputContent[]
  id?: string
  status?: ItemStatus
  [field: string]: unknown
}
export interface FunctionCallItem {
  type: 'function_call'
  id?: string
  call_id: string
  name: string
  arguments: string
  status?: ItemStatus
  [field: string]: unknown
}
export interface FunctionCallOutputItem {
  type: 'function_call_output'
  id?: string
  call_id: string
  output: string | InputContent[]
  status?: ItemStatus
  [field: string]: unknown
}
export interface CustomToolCallItem {
  type: 'custom_tool_call'
  id?: string
  call_id: string
  name: string
  input: string
  [field: string]: unknown
}
export interface CustomToolCallOutputItem {
  type: 'custom_tool_call_output'
  id?: string
  call_id: string
  output: string | InputContent[]
  [field: string]: unknown
}
/** Replayed unchanged: `encrypted_content` is only valid with its own `id`. */
export interface ReasoningItem {
  type: 'reasoning'
  id?: string
  summary: { type: 'summary_text' | string; text: string; [field: string]: unknown }[]
  content?: { type: 'reasoning_text' | string; text: string; [field: string]: unknown }[] | null
  encrypted_content?: string | null
  status?: ItemStatus | null
  [field: string]: unknown
}
export interface ItemReference {
  type: 'item_reference'
  id: string
}
/** Calls of hosted tools (`web_search_call`, `file_search_call`, `mcp_call`, …) and kinds this version does not know. */
export interface OtherItem {
  type: string
  id?: string
  [field: string]: unknown
}
export type ItemStatus = 'in_progress' | 'completed' | 'incomplete' | string

export interface OutputMessage {
  type: 'message'
  id: string
  role: 'assistant'
  status: ItemStatus
  content: OutputContent[]
  [field: string]: unknown
}

export type InputItem =
  | InputMessage
  | OutputMessage
  | FunctionCallItem
  | FunctionCallOutputItem
  | CustomToolCallItem
  | CustomToolCallOutputItem
  | ReasoningItem
  | ItemReference
  | OtherItem
export type OutputItem = OutputMessage | FunctionCallItem | CustomToolCallItem | ReasoningItem | OtherItem

/** `input_tokens` includes what was cached, `output_tokens` what was reasoned. */
export interface ResponsesUsage {
  input_tokens: number
  input_tokens_details?: { cached_tokens?: number; cache_write_tokens?: number; [field: string]: unknown } | null
  output_tokens: number
  output_tokens_details?: { reasoning_tokens?: number; [field: string]: unknown } | null
  total_tokens: number
  [field: string]: unknown
}

export type ResponseStatus = 'completed' | 'failed' | 'in_progress' | 'cancelled' | 'queued' | 'incomplete' | string

export interface ResponseObject {
  id: string
  object: 'response'
  /** Unix seconds. */
  created_at: number
  completed_at?: number | null
  status: ResponseStatus
  error: { code: string; message: string; [field: string]: unknown } | null
  incomplete_details: { reason?: 'max_output_tokens' | 'content_filter' | string; [field: string]: unknown } | null
  instructions: string | InputItem[] | null
  model: string
  output: OutputItem[]
  parallel_tool_calls?: boolean
  previous_response_id?: string | null
  tool_choice?: ResponsesToolChoice
  tools?: ResponsesTool[]
  usage?: ResponsesUsage | null
  metadata?: Record<string, unknown> | null
  service_tier?: string | null
  [field: string]: unknown
}

/** What every event has. The `event:` line of the stream repeats `type`; there is no `[DONE]`. */
interface EventBase {
  sequence_number: number
  [field: string]: unknown
}
/** Where in `output` and, for parts, in the item's `content`. */
interface ItemPlace {
  output_index: number
  item_id: string
}
interface ContentPlace extends ItemPlace {
  content_index: number
}
interface SummaryPlace extends ItemPlace {
  summary_index: number
}

/** Exactly one of the last three, or an `error`, ends a stream. */
export type EnvelopeEvent = EventBase & {
  type:
    | 'response.created'
    | 'response.queued'
    | 'response.in_progress'
    | 'response.completed'
    | 'response.incomplete'
    | 'response.failed'
  response: ResponseObject
}
export type ItemEvent = EventBase & {
  type: 'response.output_item.added' | 'response.output_item.done'
  output_index: number
  item: OutputItem
}
export type ContentPartEvent = EventBase &
  ContentPlace & { type: 'response.content_part.added' | 'response.content_part.done'; part: OutputContent }
export type OutputTextDelta = EventBase &
  ContentPlace & { type: 'response.output_text.delta'; delta: string; logprobs?: ResponsesLogprob[] }
export type OutputTextDone = EventBase &
  ContentPlace & { type: 'response.output_text.done'; text: string; logprobs?: ResponsesLogprob[] }
export type AnnotationAdded = EventBase &
  ContentPlace & { type: 'response.output_text.annotation.added'; annotation_index: number; annotation: Annotation }
export type RefusalDelta = EventBase & ContentPlace & { type: 'response.refusal.delta'; delta: string }
export type RefusalDone = EventBase & ContentPlace & { type: 'response.refusal.done'; refusal: string }
export type ReasoningTextDelta = EventBase & ContentPlace & { type: 'response.reasoning_text.delta'; delta: string }
export type ReasoningTextDone = EventBase & ContentPlace & { type: 'response.reasoning_text.done'; text: string }
export type SummaryPartEvent = EventBase &
  SummaryPlace & {
    type: 'response.reasoning_summary_part.added' | 'response.reasoning_summary_part.done'
    part: { type: 'summary_text'; text: string }
  }
export type SummaryTextDelta = EventBase & SummaryPlace & { type: 'response.reasoning_summary_text.delta'; delta: string }
export type SummaryTextDone = EventBase & SummaryPlace & { type: 'response.reasoning_summary_text.done'; text: string }
export type ArgumentsDelta = EventBase & ItemPlace & { type: 'response.function_call_arguments.delta'; delta: string }
export type ArgumentsDone = EventBase &
  ItemPlace & { type: 'response.function_call_arguments.done'; name?: string; arguments: string }
export type CustomInputDelta = EventBase & ItemPlace & { type: 'response.custom_tool_call_input.delta'; delta: string }
export type CustomInputDone = EventBase & ItemPlace & { type: 'response.custom_tool_call_input.done'; input: string }
export type ErrorEvent = EventBase & { type: 'error'; code: string | null; message: string; param: string | null }

/** Events with a fixed form. Others (progress of hosted tools, audio, kinds of tomorrow) are `OtherEvent`. */
export type KnownResponseEvent =
  | EnvelopeEvent
  | ItemEvent
  | ContentPartEvent
  | OutputTextDelta
  | OutputTextDone
  | AnnotationAdded
  | RefusalDelta
  | RefusalDone
  | ReasoningTextDelta
  | ReasoningTextDone
  | SummaryPartEvent
  | SummaryTextDelta
  | SummaryTextDone
  | ArgumentsDelta
  | ArgumentsDone
  | CustomInputDelta
  | CustomInputDone
  | ErrorEvent
export type OtherEvent = EventBase & { type: string }
export type ResponseEvent = KnownResponseEvent | OtherEvent
