/** The Gemini protocol as far as the gateway reads or writes it (`v1beta`). Parts are loose: kinds this version does not know survive. */

import { type Fields, isFields } from '../json.ts'

export { type Fields, isFields, text } from '../json.ts'

/** `text`, `inlineData`, `fileData`, `functionCall`, `functionResponse`, …; any of them may carry `thought` and `thoughtSignature`. */
export type Part = Fields

export interface Content {
  role: 'user' | 'model'
  parts: Part[]
}

/** The request body; field order is the order on the wire. */
export interface GenerateRequest {
  systemInstruction?: { parts: Part[] }
  contents: Content[]
  tools?: Fields[]
  toolConfig?: Fields
  generationConfig?: Fields
  [field: string]: unknown
}

/** A count, 0 when it is none. */
export function count(value: unknown): number {
  return typeof value === 'number' && value > 0 ? value : 0
}

/** The objects of a list; none when it is no list. */
export function objects(value: unknown): Fields[] {
  return Array.isArray(value) ? value.filter(isFields) : []
}
