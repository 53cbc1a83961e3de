import { readAnthropicCosts } from './anthropic-costs.ts'
import { readAnthropicUsage } from './anthropic-usage.ts'
import type { ReadExport } from './cost-export.ts'
import { readCsvCosts } from './csv-costs.ts'
import { readOpenaiCosts } from './openai-costs.ts'

/** Every format of cost exports that can be read. */
export const EXPORTS = {
  openai_costs: readOpenaiCosts,
  anthropic_costs: readAnthropicCosts,
  anthropic_usage: readAnthropicUsage,
  csv: readCsvCosts,
} as const satisfies Record<string, ReadExport>

export type ExportFormat = keyof typeof EXPORTS
