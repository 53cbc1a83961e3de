import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { Target } from '../provider.ts'

/** Where a request goes and what its model is called there. */
export interface Place {
  base: string
  model: string
  /** The whole address, where it is not base and path. */
  url?: string
}

/** What `addressing` of a row stands for: OpenAI's protocol at places that follow from the model's name or from how a base ends. */
export const ADDRESSES: Readonly<Record<NonNullable<ProviderRow['addressing']>, (target: Target, row: ProviderRow) => Place>> = {
  /** A name of eight letters and digits is a deployment of one's own, with a host of its own. */
  baseten({ base, model }, row) {
    const own = base === row.base && /^[a-z0-9]{8}$/.test(model)
    return { model, base: own ? `https://model-${model}.api.baseten.co/environments/production/sync/v1` : base }
  },

  /** `user.app.model` is the model's page; names of models may hold dots themselves. */
  clarifai({ base, model }) {
    const parts = /^([^./]+)\.([^./]+)\.([^/]+)$/.exec(model)
    if (parts === null) return { base, model }
    const [, user, app, name] = parts
    return { base, model: `https://clarifai.com/${user}/${app}/models/${name}` }
  },

  /** A deployment's address is taken as it is given; all of them end with a slash. */
  datarobot({ base, model }) {
    if (base.includes('/api/v2/deployments/') || base.endsWith('/chat/completions')) return { base, model, url: `${base}/` }
    const gateway = 'genai/llmgw'
    if (base.endsWith(gateway)) return { base, model }
    return { model, base: base.endsWith('/api/v2') ? `${base}/${gateway}` : `${base}/api/v2/${gateway}` }
  },

  /** Agents have hosts of their own and another path before the version. */
  gradient({ base, model }, row) {
    const serverless = base === row.base || base === `${row.base}${row.version}`
    return { model, base: serverless || base.endsWith('/api/v1') ? base : `${base.replace(/\/api$/, '')}/api/v1` }
  },

  /** `chat/<id>/<model>` and `agent/<id>/<model>`: each assistant has an endpoint. */
  ragflow({ base, model }) {
    const parts = /^(chat|agent)\/([^/]+)(?:\/(.+))?$/.exec(model)
    if (parts === null) return { base, model }
    const [, kind, id = '', name] = parts
    const host = base.replace(/\/(api\/)?v1$/, '')
    return { model: name ?? 'model', base: `${host}/api/v1/${kind}s_openai/${encodeURIComponent(id)}` }
  },
}
