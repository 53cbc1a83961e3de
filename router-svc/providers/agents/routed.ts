import type { Provider } from '../provider.ts'

/** A provider that hands models whose names begin with one of these to another protocol, without the beginning. */
export function routed(provider: Provider, agents: Readonly<Record<string, Provider>>): Provider {
  const { serve } = provider
  return {
    ...provider,
    serve(model, deployment) {
      for (const [prefix, agent] of Object.entries(agents))
        if (model.startsWith(prefix)) return { provider: agent, model: model.slice(prefix.length) }
      return serve?.(model, deployment) ?? { provider: null, model }
    },
  }
}
