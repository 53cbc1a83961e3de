import type { Deployment } from '../../proto/deployment.ts'
import { dollarsPerToken } from '../dollars.ts'

/** What is known of one deployment beside what it says itself. */
export interface DeploymentFacts {
  /** LiteLLM's `supports_…` names without the prefix. */
  supports: readonly string[]
  /** OpenAI's chat parameters its provider takes; null = nobody could be asked, or it is no chat. */
  parameters: readonly string[] | null
}

/** The yes-or-no members every group has (surface reference §1.8); what else a model can is added under its own name. */
const SUPPORTS = ['parallel_function_calling', 'vision', 'web_search', 'url_context', 'reasoning', 'function_calling']

/** A model group as /model_group/info shows it: the widest limits, the dearest prices, and what any of its deployments can. Pure. */
export function modelGroup(
  name: string,
  deployments: readonly Deployment[],
  facts: (deployment: Deployment) => DeploymentFacts,
): Record<string, unknown> {
  const known = deployments.map((deployment) => ({ deployment, ...facts(deployment) }))
  const supports = new Set(known.flatMap((one) => [...one.supports]))
  for (const { info } of deployments) {
    for (const [field, value] of Object.entries(info)) {
      if (!field.startsWith('supports_')) continue
      if (value === true) supports.add(field.slice('supports_'.length))
      else if (value === false && deployments.length === 1) supports.delete(field.slice('supports_'.length))
    }
  }
  const parameters = known.flatMap((one) => (one.parameters === null ? [] : [...one.parameters]))
  return {
    model_group: name,
    providers: [...new Set(deployments.map(({ provider }) => provider))],
    max_input_tokens: most(deployments.map(({ maxInputTokens }) => maxInputTokens)),
    max_output_tokens: most(deployments.map(({ maxOutputTokens }) => maxOutputTokens)),
    input_cost_per_token: dearest(deployments, 'input'),
    output_cost_per_token: dearest(deployments, 'output'),
    mode: deployments.find(({ mode }) => mode !== null)?.mode ?? null,
    tpm: sum(deployments.map(({ tpm }) => tpm)),
    rpm: sum(deployments.map(({ rpm }) => rpm)),
    ...Object.fromEntries([...new Set([...SUPPORTS, ...supports])].map((can) => [`supports_${can}`, supports.has(can)])),
    supported_openai_params: [...new Set(parameters)],
    configurable_clientside_auth_params: null,
  }
}

function most(values: readonly (number | null)[]): number | null {
  const known = values.filter((value): value is number => value !== null)
  return known.length === 0 ? null : Math.max(...known)
}

function sum(values: readonly (number | null)[]): number | null {
  const known = values.filter((value): value is number => value !== null)
  return known.length === 0 ? null : known.reduce((total, value) => total + value, 0)
}

function dearest(deployments: readonly Deployment[], part: 'input' | 'output'): unknown {
  const price = most(deployments.map(({ prices }) => prices?.[part] ?? null))
  return price === null ? null : dollarsPerToken(price)
}
