/** Why a provider that LiteLLM has a name for cannot be called at all, and what can be done. */
export interface Unavailable {
  /** When its service ended, as far as it was told: a day or a month. Absent = it never was a service. */
  ended?: string
  /** Half a sentence that follows on the provider's name. */
  instead: string
}

/** Names that stay known, so that whoever moves an old configuration is told what became of them. */
export const UNAVAILABLE: Readonly<Record<string, Unavailable>> = {
  anthropic_text: { ended: 'with Claude 2', instead: 'use anthropic/<model>' },
  anyscale: {
    ended: '2024-08-01',
    instead: 'for a private Anyscale service use custom_openai/<model> with its URL as api_base',
  },
  github: { ended: '2026-07-30', instead: 'use the provider of the model itself, or azure_ai/<model>' },
  lambda_ai: { ended: '2025-09-25', instead: 'use another provider of the same open models' },
  palm: { ended: '2024-10', instead: 'use gemini/<model>' },
  custom: {
    instead:
      'name a provider of your own in litellm_settings.custom_provider_map, whose custom_handler is a JavaScript or TypeScript module (LiteLLM’s are Python classes, which cannot be loaded here), or serve the model by OpenAI’s protocol and use custom_openai/<model> with its api_base',
  },
}

/** What to tell whoever names such a provider; null for all others. */
export function unavailable(provider: string): string | null {
  if (!Object.hasOwn(UNAVAILABLE, provider)) return null
  const { ended, instead } = UNAVAILABLE[provider] as Unavailable
  return ended === undefined
    ? `the provider "${provider}" cannot be called: ${instead}`
    : `the provider "${provider}" ended its service (${ended}): ${instead}`
}
