import { entryOf } from '../../../shared/entry.ts'
import type { Target } from '../provider.ts'
import { type Block, type Fields, isBlock, isFields, type MessagesRequest, text } from './wire.ts'

/** Beta a tool needs, by its `type`. Tools not listed need none. */
const BY_TOOL: Readonly<Record<string, string>> = {
  computer_20241022: 'computer-use-2024-10-22',
  bash_20241022: 'computer-use-2024-10-22',
  text_editor_20241022: 'computer-use-2024-10-22',
  computer_20250124: 'computer-use-2025-01-24',
  computer_20251124: 'computer-use-2025-11-24',
  code_execution_20250522: 'code-execution-2025-05-22',
  code_execution_20250825: 'code-execution-2025-08-25',
  web_fetch_20250910: 'web-fetch-2025-09-10',
  memory_20250818: 'context-management-2025-06-27',
  advisor_20260301: 'advisor-tool-2026-03-01',
  mcp_toolset: 'mcp-client-2025-11-20',
}

/** The betas a request body needs. A beta that has become general is accepted and ignored by the API. */
export function neededBetas(body: MessagesRequest): string[] {
  const betas: string[] = []
  const tools = body.tools ?? []
  for (const tool of tools) {
    const beta = entryOf(BY_TOOL, text(tool['type']))
    if (beta !== undefined) betas.push(beta)
  }
  if (Array.isArray(body['mcp_servers']) && !tools.some((tool) => tool['type'] === 'mcp_toolset'))
    betas.push('mcp-client-2025-04-04')
  const container = body['container']
  if (isFields(container) && Array.isArray(container['skills'])) betas.push('skills-2025-10-02', 'code-execution-2025-08-25')
  if (isFields(body['context_management'])) betas.push('context-management-2025-06-27')
  if (body['speed'] === 'fast') betas.push('fast-mode-2026-02-01')
  if (isFields(body['output_format'])) betas.push('structured-outputs-2025-11-13')
  betas.push(...blockBetas(body))
  return betas
}

/** The betas the client and the deployment ask for, in the request or its headers. */
export function askedBetas(request: Fields, target: Target): string[] {
  return [
    ...list(request['betas']),
    ...list(request['anthropic_beta']),
    ...list(target.clientHeaders['anthropic-beta']),
    ...list(target.settings['anthropic_beta']),
  ]
}

/** The header's value: what was asked for and what the body needs, each once; empty when that is nothing. */
export function betaHeader(asked: readonly string[], needed: readonly string[]): string {
  return [...new Set([...asked, ...needed])].join(',')
}

/** Whether system turns inside the conversation are turned on. */
export function hasSystemTurns(asked: readonly string[]): boolean {
  return asked.some((beta) => beta.startsWith('mid-conversation-system-'))
}

function list(value: unknown): string[] {
  const parts = Array.isArray(value) ? value.map(String) : text(value).split(',')
  return parts.map((part) => part.trim()).filter((part) => part !== '')
}

function blockBetas(body: MessagesRequest): string[] {
  let files = false
  let hour = isHour(body)
  const visit = (block: Fields): void => {
    if (block['type'] === 'container_upload' || (isFields(block['source']) && block['source']['type'] === 'file')) files = true
    if (isHour(block)) hour = true
    if (block['type'] === 'tool_result' && Array.isArray(block['content'])) block['content'].filter(isBlock).forEach(visit)
  }
  for (const tool of body.tools ?? []) visit(tool)
  for (const block of body.system ?? []) visit(block)
  for (const turn of body.messages) if (typeof turn.content !== 'string') for (const block of turn.content) visit(block as Block)
  const betas: string[] = []
  if (files) betas.push('files-api-2025-04-14')
  if (hour) betas.push('extended-cache-ttl-2025-04-11')
  return betas
}

function isHour(block: Fields): boolean {
  return isFields(block['cache_control']) && block['cache_control']['ttl'] === '1h'
}
