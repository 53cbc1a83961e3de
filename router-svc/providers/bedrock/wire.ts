/**
 * The Converse API as far as the gateway reads or writes it (bedrock-runtime, 2023-09-30). Blocks are objects of one member that names
 * their kind; kinds this version does not know must survive.
 */

import type { Fields } from '../json.ts'

export { JSON_TOOL } from '../anthropic/wire.ts'
export { type Fields, isFields, text } from '../json.ts'

export interface Turn {
  role: 'user' | 'assistant'
  content: Fields[]
}
