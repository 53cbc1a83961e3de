import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING } from '../../proto/routing.ts'
import { createCatalog } from '../catalog/catalog.ts'
import { loadConfig } from './load.ts'
import { deploymentOf, deploymentsOf, foundProviders, settingsOf } from './runtime.ts'
import { createSealer } from './secrets.ts'

const sealer = createSealer('salt')
const catalog = createCatalog({ now: () => Date.UTC(2026, 10, 21) })

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'turnpike-runtime-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function compile(content: string, env: Record<string, string> = {}): Deployment[] {
  const path = join(folder, 'config.yaml')
  writeFileSync(path, content)
  const { config, env: effective } = loadConfig(path, env, { catalog })
  return deploymentsOf(config, effective, sealer, { catalog })
}

function settings(content: string, env: Record<string, string> = {}) {
  const path = join(folder, 'config.yaml')
  writeFileSync(path, content)
  return settingsOf(loadConfig(path, env, { catalog }).config, sealer)
}

/** One entry with these parameters. */
function params(fields: Record<string, unknown>, info?: Record<string, unknown>): Deployment {
  const entry = { model_name: 'group', litellm_params: { model: 'openai/gpt-4o', ...fields }, ...(info && { model_info: info }) }
  return deploymentOf(entry, {}, sealer, { catalog })
}

describe('deploymentOf', () => {
  it('fills every field', () => {
    const { id, apiKey, ...rest } = params(
      {
        api_key: 'sk-provider',
        api_base: 'https://example.com/v1/',
        api_version: '2024-10-21',
        organization: 'org-1',
        weight: '3',
        rpm: 60,
        tpm: '90000',
        max_parallel_requests: 4,
        order: 1,
        tags: 'paid',
        timeout: 1.5,
        stream_timeout: '10',
        num_retries: 1,
        temperature: 0.2,
        max_tokens: 100,
        top_k: 40,
        aws_region_name: 'eu-west-1',
        headers: { a: '1', b: '1' },
        extra_headers: { b: 2 },
        extra_body: { c: 3 },
        drop_params: 'true',
        additional_drop_params: ['user'],
        allowed_openai_params: ['seed'],
        mock_response: 'hello',
        input_cost_per_token: 1e-6,
        output_cost_per_token: 2e-6,
      },
      { mode: 'chat', access_groups: ['beta'], max_input_tokens: 1000, max_tokens: 50, blocked: true, mine: { x: 1 } },
    )
    expect(id).toMatch(/^[0-9a-f]{64}$/)
    expect(apiKey).toMatch(/^sealed:/)
    expect(sealer.open(apiKey ?? '')).toBe('sk-provider')
    expect(rest).toEqual({
      modelGroup: 'group',
      provider: 'openai',
      region: 'eu-west-1',
      model: 'gpt-4o',
      apiBase: 'https://example.com/v1',
      organization: 'org-1',
      apiVersion: '2024-10-21',
      weight: 3,
      rpm: 60,
      tpm: 90_000,
      maxParallelRequests: 4,
      order: 1,
      tags: ['paid'],
      timeout: 1500,
      streamTimeout: 10_000,
      maxRetries: 1,
      defaults: { temperature: 0.2, max_tokens: 100 },
      extraHeaders: { a: '1', b: '2' },
      extraBody: { top_k: 40, c: 3 },
      dropParams: true,
      additionalDropParams: ['user'],
      allowedOpenaiParams: ['seed'],
      mockResponse: 'hello',
      mode: 'chat',
      baseModel: null,
      accessGroups: ['beta'],
      info: { mode: 'chat', access_groups: ['beta'], max_input_tokens: 1000, max_tokens: 50, blocked: true, mine: { x: 1 } },
      prices: {
        input: 1_000_000_000,
        output: 2_000_000_000,
        perToolCall: { web_search: 10_000_000, file_search: 2_500_000 },
        rateVersion: expect.stringMatching(/^config:/),
      },
      maxInputTokens: 1000,
      maxOutputTokens: 50,
      blocked: true,
      fromDatabase: false,
      settings: { aws_region_name: 'eu-west-1' },
    })
  })

  it('takes prices and limits from the catalogue, by base_model where the name does not tell', () => {
    expect(params({})).toMatchObject({
      maxInputTokens: 128_000,
      maxOutputTokens: 16_384,
      mode: 'chat',
      prices: { input: 2_500_000_000 },
    })
    expect(params({ model: 'openai/my-deployment' })).toMatchObject({ maxInputTokens: null, prices: null })
    expect(params({ model: 'openai/my-deployment' }, { base_model: 'azure/gpt-4o' })).toMatchObject({
      baseModel: 'azure/gpt-4o',
      maxOutputTokens: 16_384,
      prices: { input: 2_500_000_000 },
    })
  })

  it('gives a wildcard no list price, because it has as many as it matches', () => {
    expect(params({ model: 'openai/*' })).toMatchObject({ model: '*', prices: null, maxInputTokens: null })
    expect(params({ model: 'openai/*', input_cost_per_token: 0 })).toMatchObject({ prices: { input: 0 } })
  })

  it('keeps its id between starts, whatever the order of the parameters, and changes it with any of them', () => {
    const id = params({ rpm: 1, api_key: 'a' }).id
    expect(params({ api_key: 'a', rpm: 1 }).id).toBe(id)
    expect(params({ rpm: 2, api_key: 'a' }).id).not.toBe(id)
    expect(params({ rpm: 1, api_key: 'b' }).id).not.toBe(id)
    expect(params({}, { id: 'mine' }).id).toBe('mine')
  })

  it('gives everything it does not know to the mock, and seals what has the name of a secret', () => {
    expect(params({ model: 'mock/slow', chunk_delay: 5, temperature: 1 })).toMatchObject({
      provider: 'mock',
      settings: { chunk_delay: 5 },
      extraBody: {},
      defaults: { temperature: 1 },
    })
    const { settings: own } = params({ aws_secret_access_key: 'hidden', vertex_credentials: { private: 'hidden' } })
    expect(JSON.stringify(own)).not.toContain('hidden')
    expect(sealer.open(own['aws_secret_access_key'] as string)).toBe('hidden')
    expect(sealer.open(own['vertex_credentials'] as string)).toBe('{"private":"hidden"}')
  })

  it('fills what is missing from the credential it names', () => {
    const credentials = [
      { credential_name: 'shared', credential_values: { api_key: 'sk-shared', api_base: 'https://shared.example' } },
    ]
    const entry = {
      model_name: 'a',
      litellm_params: { model: 'openai/a', litellm_credential_name: 'shared', api_base: 'https://own.example' },
    }
    const deployment = deploymentOf(entry, {}, sealer, { catalog, credentials })
    expect(sealer.open(deployment.apiKey ?? '')).toBe('sk-shared')
    expect(deployment.apiBase).toBe('https://own.example')
    expect(() => deploymentOf(entry, {}, sealer, { catalog })).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })

  it('refuses an entry that is wrong with every problem', () => {
    const wrong = { litellm_params: { model: 'openai/a', rpm: 'many', timeout: -1 } }
    expect(() => deploymentOf(wrong, {}, sealer, { catalog })).toThrow(
      expect.objectContaining({
        code: 'bad_request',
        message: expect.stringMatching(/model_name.*litellm_params\.rpm.*litellm_params\.timeout/s),
      }),
    )
    for (const model of ['nowhere/x', 'manus/x', 'unheard-of']) {
      expect(() => params({ model }), model).toThrow(expect.objectContaining({ code: 'bad_request' }))
    }
  })

  it('lets a stored entry name provider keys of the environment, and none of the gateway’s own secrets', () => {
    const env = { OPENAI_API_KEY: 'sk-openai', LITELLM_MASTER_KEY: 'sk-master', DATABASE_URL: 'postgresql://secret' }
    const stored = (key: string): Deployment =>
      deploymentOf({ model_name: 'a', litellm_params: { model: 'openai/a', api_key: key } }, env, sealer, {
        catalog,
        fromDatabase: true,
      })
    const allowed = stored('os.environ/OPENAI_API_KEY')
    expect(allowed.fromDatabase).toBe(true)
    expect(sealer.open(allowed.apiKey ?? '')).toBe('sk-openai')
    expect(stored('os.environ/NOT_SET').apiKey).toBeNull()
    for (const name of ['LITELLM_MASTER_KEY', 'DATABASE_URL']) {
      expect(() => stored(`os.environ/${name}`)).toThrow(/may not read the environment variable/)
    }
  })
})

describe('deploymentsOf', () => {
  it('leaves the key to the router’s environment unless the configuration holds one', () => {
    const [plain, named] = compile(
      `model_list:
  - {model_name: a, litellm_params: {model: openai/a}}
  - {model_name: b, litellm_params: {model: openai/b, api_key: os.environ/SECOND_KEY}}
`,
      { OPENAI_API_KEY: 'sk-first', SECOND_KEY: 'sk-second' },
    )
    expect(plain?.apiKey).toBeNull()
    expect(sealer.open(named?.apiKey ?? '')).toBe('sk-second')
  })

  it('takes keys and base URLs along that the file itself sets', () => {
    const [one] = compile(`environment_variables: {OPENAI_API_KEY: sk-file, OPENAI_BASE_URL: "https://proxy.example/v1/"}
model_list: [{model_name: a, litellm_params: {model: openai/a}}]
`)
    expect(sealer.open(one?.apiKey ?? '')).toBe('sk-file')
    expect(one?.apiBase).toBe('https://proxy.example/v1')
  })

  it('takes an API version along that the file itself sets, for deployments that name none', () => {
    const versions = compile(`environment_variables: {AZURE_API_VERSION: "2024-10-21"}
model_list:
  - {model_name: a, litellm_params: {model: azure/a}}
  - {model_name: b, litellm_params: {model: azure/b, api_version: "2024-02-01"}}
  - {model_name: c, litellm_params: {model: openai/c}}
`).map(({ apiVersion }) => apiVersion)
    expect(versions).toEqual(['2024-10-21', '2024-02-01', null])
  })

  it('keeps the credentials of Azure out of the body, and sealed', () => {
    const [one] = compile(`model_list:
  - {model_name: a, litellm_params: {model: azure/a, azure_ad_token: t, tenant_id: x, client_id: y, client_secret: z}}
`)
    expect(one?.extraBody).toEqual({})
    expect(one?.settings).toMatchObject({ tenant_id: 'x', client_id: 'y' })
    const opened = ['azure_ad_token', 'client_secret'].map((name) => String(one?.settings[name]))
    expect(opened.map((text) => text.startsWith('sealed:'))).toEqual([true, true])
    expect(opened.map((text) => sealer.open(text))).toEqual(['t', 'z'])
  })

  it('keeps tokens, accounts and projects of platforms out of the body, and what is secret sealed', () => {
    const [one, two] = compile(`model_list:
  - {model_name: a, litellm_params: {model: watsonx/a, token: t, zen_api_key: z, project_id: p}}
  - {model_name: b, litellm_params: {model: snowflake/b, api_key: pat/k, account_id: org-a}}
`)
    expect([one?.extraBody, two?.extraBody]).toEqual([{}, {}])
    expect(['token', 'zen_api_key'].map((name) => sealer.open(String(one?.settings[name])))).toEqual(['t', 'z'])
    expect(JSON.stringify(one?.settings)).toMatch(/"token":"sealed:.*"zen_api_key":"sealed:.*"project_id":"p"/)
    expect(two?.settings).toEqual({ account_id: 'org-a' })
  })

  it('tells two equal entries apart, and gives both the same ids at every start', () => {
    const twice = 'model_list:\n- &a {model_name: a, litellm_params: {model: openai/a}}\n- *a\n'
    const ids = compile(twice).map(({ id }) => id)
    expect(new Set(ids).size).toBe(2)
    expect(compile(twice).map(({ id }) => id)).toEqual(ids)
  })

  it('counts a missing weight as 0 beside one that is set, and as 1 otherwise', () => {
    const weights = compile(`model_list:
  - {model_name: a, litellm_params: {model: openai/a, weight: 2}}
  - {model_name: a, litellm_params: {model: openai/b}}
  - {model_name: other, litellm_params: {model: openai/b}}
`).map(({ weight }) => weight)
    expect(weights).toEqual([2, 0, 1])
  })

  it('drops parameters everywhere when litellm_settings says so, except where a deployment says otherwise', () => {
    expect(
      compile(`litellm_settings: {drop_params: true}
model_list:
  - {model_name: a, litellm_params: {model: openai/a}}
  - {model_name: b, litellm_params: {model: openai/b, drop_params: false}}
`).map(({ dropParams }) => dropParams),
    ).toEqual([true, false])
  })

  it('leaves out providers that are not served yet', () => {
    expect(
      compile(`model_list:
  - {model_name: a, litellm_params: {model: manus/a}}
  - {model_name: b, litellm_params: {model: openai/b}}
`).map(({ modelGroup }) => modelGroup),
    ).toEqual(['b'])
  })

  it('spreads * over the providers found, and over one server when it has a base URL', () => {
    const env = { OPENAI_API_KEY: 'k', ANTHROPIC_API_KEY: 'k' }
    const all = compile('model_list: [{model_name: "*", litellm_params: {model: "*"}}]\n', env)
    expect(all.map(({ modelGroup, provider, model }) => [modelGroup, provider, model])).toEqual(
      expect.arrayContaining([
        ['openai/*', 'openai', '*'],
        ['anthropic/*', 'anthropic', '*'],
        ['gpt-*', 'openai', 'gpt-*'],
        ['claude-*', 'anthropic', 'claude-*'],
      ]),
    )
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length)
    const [server, ...none] = compile(
      'model_list: [{model_name: "*", litellm_params: {model: "*", api_base: "http://localhost:8000/v1"}}]\n',
      env,
    )
    expect(server).toMatchObject({ modelGroup: '*', provider: 'openai', model: '*', apiBase: 'http://localhost:8000/v1' })
    expect(none).toEqual([])
  })
})

describe('foundProviders', () => {
  it('names each provider whose key is set with the variable that holds it', () => {
    expect(foundProviders({ GROQ_API_KEY: 'k', OPENAI_API_KEY: '', ANTHROPIC_API_KEY: 'k' })).toEqual([
      { name: 'anthropic', variable: 'ANTHROPIC_API_KEY' },
      { name: 'groq', variable: 'GROQ_API_KEY' },
    ])
  })

  it('offers one provider for one key', () => {
    expect(foundProviders({ OPENAI_API_KEY: 'k' })).toEqual([{ name: 'openai', variable: 'OPENAI_API_KEY' }])
  })
})

describe('settingsOf', () => {
  it('has LiteLLM’s defaults', () => {
    expect(settings('')).toEqual({
      numRetries: 2,
      timeout: 600_000,
      streamTimeout: 600_000,
      stallTimeout: 300_000,
      retryAfter: 0,
      modelGroupAlias: {},
      dropParams: false,
      alwaysIncludeStreamUsage: false,
      maxRequestBytes: 128 * 1024 * 1024,
      allowClientSideCredentials: false,
      keyHeaderName: null,
      customerLimits: false,
      tagLimits: false,
      holdOutputTokens: 4096,
      countersAway: 'refuse',
      providerBudgets: [],
      enforcedParams: [],
      serviceAccountEnforcedParams: [],
      enforceUserParam: false,
      rejectClientTags: false,
      customerHeaders: [],
      requireAuthForMetrics: false,
      allowedRoutes: [],
      publicRoutes: [],
      open: true,
      routing: DEFAULT_ROUTING,
      cache: null,
    })
  })

  it('tells edges whose unknown keys to slow, and by which address', () => {
    expect(settings('turnpike_settings: {unknown_keys_burst: 0}\ngeneral_settings: {use_x_forwarded_for: true}')).toMatchObject({
      unknownKeys: { burst: 0, perSecond: 1 },
      useForwardedFor: true,
    })
  })

  it('tells edges which headers routing rules read', () => {
    const rules =
      '[{when: {"headers.X-Region": eu}, then: a}, {when: {$or: [{"headers.x-plan": {$in: [paid]}}, {"metadata.x": 1}]}, then: b}]'
    expect(settings(`turnpike_settings: {routing_rules: ${rules}}`).ruleHeaders).toEqual(['x-region', 'x-plan'])
  })

  it('lets router_settings beat litellm_settings and turns units into ours', () => {
    expect(
      settings(`
litellm_settings: {num_retries: 5, request_timeout: 30, drop_params: true, require_auth_for_metrics_endpoint: true}
router_settings:
  num_retries: 1
  timeout: 20
  retry_after: 0.5
  model_group_alias: {gpt-4: gpt-4o, hidden: {model: gpt-4o, hidden: true}}
general_settings:
  master_key: sk-a-long-master-key
  max_request_size_mb: 0.5
  litellm_key_header_name: X-My-Key
  allowed_routes: [/v1/chat/completions, LiteLLMRoutes.info_routes]
  public_routes: [/health]
turnpike_settings: {stall_timeout: 7}
`),
    ).toMatchObject({
      numRetries: 1,
      timeout: 20_000,
      streamTimeout: 20_000,
      stallTimeout: 7000,
      retryAfter: 500,
      modelGroupAlias: { 'gpt-4': 'gpt-4o', hidden: 'gpt-4o' },
      hiddenAliases: ['hidden'],
      dropParams: true,
      maxRequestBytes: 524_288,
      keyHeaderName: 'x-my-key',
      requireAuthForMetrics: true,
      allowedRoutes: ['/v1/chat/completions', 'info_routes'],
      publicRoutes: ['/health'],
      open: false,
    })
  })

  it('is not open when the environment holds the master key', () => {
    expect(settings('', { LITELLM_MASTER_KEY: 'sk-from-env' }).open).toBe(false)
  })
})
