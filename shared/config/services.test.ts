import { describe, expect, it } from 'vitest'
import { createCatalog } from '../catalog/catalog.ts'
import { checkConfig } from './config.ts'
import { inspect } from './inspect.ts'
import { createSealer } from './secrets.ts'
import { servicesOf } from './services.ts'

const sealer = createSealer('salt')
const catalog = createCatalog({ now: () => Date.UTC(2026, 10, 21) })

function services(tree: Record<string, unknown>) {
  const checked = checkConfig(tree)
  if (!checked.ok) throw new Error(JSON.stringify(checked.problems))
  return servicesOf(checked.config, {}, sealer, catalog)
}

describe('servicesOf', () => {
  it('makes a deployment of no model of every entry, its key sealed', () => {
    const [files, tuning, assistants, ...more] = services({
      files_settings: [
        { custom_llm_provider: 'azure', api_base: 'https://x.openai.azure.com', api_key: 'sk-1', api_version: '2024-10-21' },
      ],
      finetune_settings: [{ custom_llm_provider: 'openai', api_key: 'sk-2' }],
      assistant_settings: { custom_llm_provider: 'openai', litellm_params: { api_key: 'sk-3' } },
    })
    expect(more).toEqual([])
    expect(files).toMatchObject({
      purpose: 'files_settings',
      deployment: {
        provider: 'azure',
        model: '',
        modelGroup: '',
        apiBase: 'https://x.openai.azure.com',
        apiVersion: '2024-10-21',
      },
    })
    const keys = [files, tuning, assistants].map((one) => one?.deployment.apiKey ?? '')
    expect(keys.map((key) => sealer.open(key))).toEqual(['sk-1', 'sk-2', 'sk-3'])
    expect(JSON.stringify([files, tuning, assistants])).not.toContain('sk-')
    expect(new Set([files, tuning, assistants].map((one) => one?.deployment.id)).size).toBe(3)
  })

  it('knows a registered store by its id and takes its key from the file’s environment', () => {
    const [store] = services({
      environment_variables: { OPENAI_API_KEY: 'sk-file' },
      vector_store_registry: [
        { vector_store_name: 'docs', litellm_params: { vector_store_id: 'vs_1', custom_llm_provider: 'openai' } },
      ],
    })
    expect(store?.purpose).toBe('vector_store_registry:vs_1')
    expect(sealer.open(store?.deployment.apiKey ?? '')).toBe('sk-file')
  })

  it('leaves out providers nobody serves, of which loading warns', () => {
    const tree = {
      files_settings: [{ custom_llm_provider: 'nobody' }],
      vector_store_registry: [{ litellm_params: { vector_store_id: '1', custom_llm_provider: 'milvus' } }],
    }
    expect(services(tree)).toEqual([])
    expect(inspect(tree, catalog).warnings.map(({ path }) => path.join('.'))).toEqual([
      'files_settings.0.custom_llm_provider',
      'vector_store_registry.0.litellm_params.custom_llm_provider',
    ])
  })
})
