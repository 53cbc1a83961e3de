import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConfigError, type LoadedConfig, loadConfig } from './load.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'turnpike-config-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function write(content: string, name = 'config.yaml'): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

function load(content: string, env: Record<string, string> = {}): LoadedConfig {
  return loadConfig(write(content), env)
}

/** The problems as `line:column path message`. */
function problems(content: string, env: Record<string, string> = {}): string[] {
  try {
    load(content, env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(({ line, column, path, message }) => `${line}:${column} ${path} ${message}`)
  }
  return []
}

const MINIMAL = `model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
`

describe('loadConfig', () => {
  it('reads a configuration of LiteLLM unchanged', () => {
    const { config, warnings } = load(
      `${MINIMAL}      api_key: os.environ/OPENAI_API_KEY
      rpm: "60"
      weight: os.environ/WEIGHT
    model_info:
      mode: chat
      my_own_key: 1
litellm_settings:
  drop_params: yes
  success_callback: [langfuse]
router_settings:
  routing_strategy: simple-shuffle
  num_retries: 3
general_settings:
  master_key: sk-a-long-master-key
`,
      { OPENAI_API_KEY: 'sk-openai', WEIGHT: '2' },
    )
    expect(warnings).toEqual([])
    expect(config.model_list[0]).toMatchObject({
      model_name: 'gpt-4o',
      litellm_params: { model: 'openai/gpt-4o', api_key: 'sk-openai', rpm: 60, weight: 2 },
      model_info: { mode: 'chat', my_own_key: 1 },
    })
    expect(config.litellm_settings.drop_params).toBe(true)
    expect(config.router_settings.num_retries).toBe(3)
    expect(Object.isFrozen(config.model_list[0]?.litellm_params)).toBe(true)
  })

  it('notes LiteLLM settings that have no effect yet apart from warnings', () => {
    const { warnings, notes } = load(`litellm_settings:\n  telemetry: true\nmcp_servers: {}\n`)
    expect(warnings).toEqual([])
    expect(notes).toEqual([
      expect.stringMatching(/config\.yaml:3:1 mcp_servers: has no effect in Turnpike yet$/),
      expect.stringMatching(/config\.yaml:2:3 litellm_settings\.telemetry: has no effect in Turnpike yet$/),
    ])
  })

  it('notes who is told of calls in LiteLLM and not here', () => {
    const { notes } = load('litellm_settings:\n  callbacks: [otel, langfuse, prometheus]\n  success_callback: s3\n')
    expect(notes).toEqual([
      expect.stringMatching(
        /:2:21 litellm_settings\.callbacks\[1\]: "langfuse" has no effect in Turnpike yet; there are otel and prometheus$/,
      ),
      expect.stringMatching(/:3:21 litellm_settings\.success_callback: "s3" has no effect in Turnpike yet/),
    ])
  })

  it('warns of a restriction that is known but not in force', () => {
    const { warnings, notes } = load('general_settings: {allowed_ips: [10.0.0.1]}\nguardrails: []\n')
    expect(notes).toEqual([])
    expect(warnings).toEqual([
      expect.stringMatching(/:2:1 guardrails: has no effect in Turnpike yet: what it forbids is allowed$/),
      expect.stringMatching(/:1:20 general_settings\.allowed_ips: has no effect in Turnpike yet: what it forbids is allowed$/),
    ])
  })

  it('reports every problem at once with line, column, path, what was expected and what was found', () => {
    const found = problems(`model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      rpm: fast
  - model_name: claude
    litellm_params:
      model: antropic/claude-sonnet-4-5
      timeout: -1
  - litellm_params:
      api_base: localhost:8000
general_settings:
  master_key: [1]
  allowed_routes: /v1
litellm_settings:
  request_timeout: soon
`)
    expect(found).toEqual([
      '5:12 model_list[0].litellm_params.rpm expected a whole number, 0 or more, got "fast". Requests per minute this deployment takes.',
      expect.stringMatching(
        /^8:14 model_list\[1\]\.litellm_params\.model .*"antropic", which is not known; did you mean anthropic\?$/,
      ),
      '9:16 model_list[1].litellm_params.timeout expected a number, 0 or more, got -1. Seconds for a whole call.',
      expect.stringMatching(/^10:5 model_list\[2\]\.model_name is missing; expected a text\./),
      expect.stringMatching(/^10:5 model_list\[2\]\.litellm_params\.model is missing; expected a text\./),
      expect.stringMatching(
        /^11:17 model_list\[2\]\.litellm_params\.api_base expected a URL that starts with http:\/\/ or https:\/\/, got "localhost:8000"\./,
      ),
      expect.stringMatching(/^13:3 general_settings\.master_key expected a text, got a list\./),
      '14:19 general_settings.allowed_routes expected a list, got "/v1". The only routes that may be called; pages that need no key stay open.',
      expect.stringMatching(/^16:20 litellm_settings\.request_timeout expected a number, 0 or more, got "soon"\./),
    ])
  })

  it('suggests the name that was meant for one it does not know', () => {
    const { warnings } = load(`${MINIMAL}      temprature: 0.5
      top_k: 40
general_settings:
  databse_url: x
  nonsense_of_mine: 1
`)
    expect(warnings).toEqual([
      expect.stringMatching(/config\.yaml:8:3 general_settings\.databse_url: .* did you mean database_url\?$/),
      expect.stringMatching(/"nonsense_of_mine" is not a known name; it has no effect$/),
      expect.stringMatching(/config\.yaml:5:7 model_list\[0\]\.litellm_params\.temprature: .* did you mean temperature\?$/),
    ])
  })

  it('reports YAML that cannot be read, a key that stands twice and a tab, each with its line', () => {
    expect(problems('model_list: [\n')[0]).toMatch(/^\d+:\d+ {2}Not valid YAML: /)
    expect(problems('general_settings:\n  master_key: a\n  master_key: b\n')).toEqual([
      '3:3  This key stands twice in one mapping; remove one of the two.',
    ])
    expect(problems('general_settings:\n\tmaster_key: a\n').join()).toMatch(/^2:\d+ .*tab/i)
    expect(problems('- a\n- b\n')).toEqual(['1:1  Expected a mapping at the top (`model_list:` and so on).'])
  })

  it('reports a file that is nested without end or hardly YAML, in few words', () => {
    const deep = /more than 200 lists and mappings inside one another/
    expect(problems(`${MINIMAL}a: ${'['.repeat(400)}${']'.repeat(400)}\n`)).toEqual([expect.stringMatching(deep)])
    expect(problems(`${MINIMAL}a: ${'['.repeat(5_000)}${']'.repeat(5_000)}\n`)[0]).toMatch(deep)
    expect(problems('a: &a [*a]\n')).toEqual([expect.stringMatching(deep)])
    expect(problems('}'.repeat(1000)).length).toBeLessThan(60)
  })

  it('takes a variable that is called like a member of every object for one that is not set', () => {
    expect(load(`${MINIMAL}general_settings: {master_key: os.environ/constructor}\n`).warnings.join()).toContain(
      'the environment variable constructor is not set',
    )
    expect(problems(`${MINIMAL}environment_variables: {A: {toString: 1}}\n`).join()).toContain('environment_variables.A')
  })

  it('reports a file that is not there', () => {
    const path = join(folder, 'missing.yaml')
    expect(() => loadConfig(path, {})).toThrow(
      expect.objectContaining({
        problems: [{ path: '', file: path, line: null, column: null, message: 'The file does not exist; check the path.' }],
      }),
    )
  })

  it('stops a file whose aliases multiply', () => {
    const lines = ['a0: &a0 [x,x,x,x,x,x,x,x,x,x]']
    for (let index = 1; index < 9; index++)
      lines.push(`a${index}: &a${index} [${Array.from({ length: 10 }, () => `*a${index - 1}`).join(',')}]`)
    expect(problems(lines.join('\n'))[0]).toMatch(/aliases .* cannot be followed/)
  })

  it('follows anchors and merge keys', () => {
    const { config } = load(`defaults: &defaults {rpm: 10, timeout: 5}
model_list:
  - model_name: a
    litellm_params: {<<: *defaults, model: openai/gpt-4o, rpm: 20}
`)
    expect(config.model_list[0]?.litellm_params).toMatchObject({ rpm: 20, timeout: 5 })
  })

  it('takes an empty file for an empty configuration', () => {
    expect(load('# nothing\n').config.model_list).toEqual([])
  })
})

describe('references to the environment', () => {
  it('are replaced anywhere, when they are the whole value', () => {
    const { config } = load(
      `${MINIMAL}      extra_headers: {x-team: os.environ/TEAM, x-note: see os.environ/TEAM}
      drop_params: os.environ/DROP
      tags: [os.environ/TEAM]
`,
      { TEAM: 'blue', DROP: 'true' },
    )
    expect(config.model_list[0]?.litellm_params).toMatchObject({
      extra_headers: { 'x-team': 'blue', 'x-note': 'see os.environ/TEAM' },
      drop_params: true,
      tags: ['blue'],
    })
  })

  it('count as absent with a warning when the variable is not set', () => {
    const { config, warnings } = load(`${MINIMAL}      api_key: os.environ/NOT_SET\n`)
    expect(config.model_list[0]?.litellm_params.api_key).toBeNull()
    expect(warnings).toEqual([
      expect.stringMatching(/:5:16 model_list\[0\]\.litellm_params\.api_key: the environment variable NOT_SET is not set/),
    ])
  })

  it('are named in a problem instead of what they hold', () => {
    const found = problems(`${MINIMAL}      rpm: os.environ/RPM\n`, { RPM: 'hunter2' })
    expect(found).toEqual([expect.stringContaining('got the value of the environment variable RPM')])
    expect(found.join()).not.toContain('hunter2')
    expect(problems('model_list:\n  - model_name: a\n    litellm_params: {model: os.environ/MODEL}\n')).toEqual([
      expect.stringContaining('got nothing: the environment variable MODEL is not set'),
    ])
  })

  it('see what environment_variables sets first', () => {
    const { config, env } = load(
      `environment_variables:
  OPENAI_API_KEY: os.environ/REAL_KEY
  RETRIES: 4
router_settings:
  num_retries: os.environ/RETRIES
`,
      { REAL_KEY: 'sk-real' },
    )
    expect(config.environment_variables).toEqual({ OPENAI_API_KEY: 'sk-real', RETRIES: '4' })
    expect(env['OPENAI_API_KEY']).toBe('sk-real')
    expect(config.router_settings.num_retries).toBe(4)
  })

  it('never show a secret in a problem', () => {
    const found = problems(`general_settings:
  master_key: {a: sk-hidden}
  database_url: [sk-hidden]
model_list:
  - model_name: a
    litellm_params:
      model: openai/gpt-4o
      api_key: 12345678901234
      extra_headers: {Authorization: [sk-hidden]}
`).join('\n')
    expect(found).toMatch(/api_key expected a text, got a number/)
    expect(found).not.toMatch(/hidden|1234/)
  })
})

describe('include', () => {
  it('appends lists and overrides keys, and problems keep their own file and line', () => {
    write(`${MINIMAL}litellm_settings: {num_retries: 5}\n`, 'models.yaml')
    write('model_list:\n  - model_name: c\n    litellm_params:\n      model: openai/c\n      rpm: many\n', 'more.yaml')
    const main =
      'include: [models.yaml]\nmodel_list:\n  - {model_name: own, litellm_params: {model: openai/own}}\nlitellm_settings: {num_retries: 1, drop_params: true}\n'
    const { config, files } = load(main)
    expect(config.model_list.map((entry) => entry.model_name)).toEqual(['own', 'gpt-4o'])
    expect(config.litellm_settings).toEqual({ num_retries: 5, drop_params: true })
    expect(files.map((file) => file.slice(folder.length + 1))).toEqual(['config.yaml', 'models.yaml'])

    try {
      load(main.replace('[models.yaml]', '[models.yaml, more.yaml]'))
      expect.unreachable()
    } catch (error) {
      expect((error as ConfigError).problems).toEqual([
        expect.objectContaining({
          file: join(folder, 'more.yaml'),
          line: 5,
          column: 12,
          path: 'model_list[2].litellm_params.rpm',
        }),
      ])
    }
  })

  it('refuses files that include each other, and one that is missing', () => {
    write('include: config.yaml\n', 'other.yaml')
    expect(problems('include: other.yaml\n')).toEqual([
      '1:10 include includes "config.yaml", which includes this file: remove one of the two',
    ])
    expect(problems('include: nowhere.yaml\n')).toEqual(['null:null  The file does not exist; check the path.'])
  })
})

describe('model names', () => {
  const one = (model: string, more = ''): string =>
    `model_list:\n  - model_name: x\n    litellm_params: {model: "${model}"${more}}\n`

  it('may leave the provider out when the name tells', () => {
    for (const model of ['gpt-4o', 'o3-mini', 'text-embedding-3-small', 'claude-opus-4-6', 'deepseek-chat', 'grok-4']) {
      expect(problems(one(model)), model).toEqual([])
    }
  })

  it('are refused when no provider can be told, with the way to write it', () => {
    expect(problems(one('my-model'))).toEqual([expect.stringContaining('write provider/model, for example openai/my-model')])
    expect(problems(one('openai/'))).toEqual([expect.stringContaining('but no model; write openai/<model>')])
    expect(problems(one('quuxville/llama'))[0]).toMatch(
      /for a server that speaks OpenAI’s protocol write openai\/<model> and its api_base/,
    )
    expect(problems(one('llama-3', ', custom_llm_provider: groqq'))[0]).toMatch(/did you mean groq\?/)
  })

  it('of providers that are not served yet are left out with a warning', () => {
    const { warnings } = load(one('manus/agent'))
    expect(warnings).toEqual([expect.stringMatching(/does not serve the provider "manus" yet; this deployment is left out$/)])
  })

  it('need ids that differ, aliases that lead somewhere and credentials that exist', () => {
    expect(
      problems(`model_list:
  - {model_name: a, litellm_params: {model: openai/a}, model_info: {id: same}}
  - {model_name: b, litellm_params: {model: openai/b, litellm_credential_name: none}, model_info: {id: same}}
`),
    ).toEqual([
      expect.stringMatching(/^3:\d+ model_list\[1\]\.model_info\.id the id "same" is taken by model_list\[0\]/),
      expect.stringMatching(
        /^3:\d+ model_list\[1\]\.litellm_params\.litellm_credential_name credential_list has no credential_name "none"$/,
      ),
    ])
    const { warnings } = load(`${MINIMAL}router_settings: {model_group_alias: {gpt-4: gpt-4p}}\n`)
    expect(warnings).toEqual([expect.stringMatching(/no model_name "gpt-4p" is configured; did you mean gpt-4o\?$/)])
  })

  it('take router_settings.default_litellm_params where they say nothing themselves', () => {
    const { config } = load(`${MINIMAL}      timeout: 5\nrouter_settings: {default_litellm_params: {timeout: 9, rpm: "7"}}\n`)
    expect(config.model_list[0]?.litellm_params).toMatchObject({ timeout: 5, rpm: 7 })
  })

  it('are told when a deployment without a weight stands beside one with', () => {
    const { warnings } = load(`${MINIMAL}  - {model_name: gpt-4o, litellm_params: {model: openai/gpt-4o-mini, weight: 1}}\n`)
    expect(warnings).toEqual([expect.stringMatching(/model_list\[0\]: has no weight although another deployment/)])
  })
})

describe('without a file', () => {
  it('serves every provider found, their bare model names, and mock', () => {
    const { config, files } = loadConfig(null, { ANTHROPIC_API_KEY: 'k', GROQ_API_KEY: 'k', OPENAI_API_KEY: '' })
    expect(config.model_list.map((entry) => [entry.model_name, entry.litellm_params.model])).toEqual([
      ['mock', 'mock/mock'],
      ['anthropic/*', 'anthropic/*'],
      ['groq/*', 'groq/*'],
      ['claude-*', 'anthropic/claude-*'],
    ])
    expect(files).toEqual([])
  })

  it('serves only the models asked for when some are', () => {
    const { config } = loadConfig(null, { OPENAI_API_KEY: 'k' }, { models: ['openai/gpt-4o', 'mock'] })
    expect(config.model_list).toEqual([
      { model_name: 'openai/gpt-4o', litellm_params: { model: 'openai/gpt-4o' } },
      { model_name: 'mock', litellm_params: { model: 'mock' } },
    ])
    expect(() => loadConfig(null, {}, { models: ['opnai/gpt-4o'] })).toThrow(/did you mean openai\?/)
  })

  it('adds models asked for to those of the file', () => {
    const { config } = loadConfig(write(MINIMAL), {}, { models: ['groq/llama-3.3-70b-versatile'] })
    expect(config.model_list.map((entry) => entry.model_name)).toEqual(['gpt-4o', 'groq/llama-3.3-70b-versatile'])
  })

  it('reads CONFIG_FILE_PATH', () => {
    expect(loadConfig(null, { CONFIG_FILE_PATH: write(MINIMAL) }).config.model_list).toHaveLength(1)
  })

  it('takes master key and database from the environment where the file has none', () => {
    const env = { LITELLM_MASTER_KEY: 'sk-env', DATABASE_URL: 'postgresql://env' }
    expect(load('general_settings: {master_key: sk-file}\n', env).config.general_settings).toMatchObject({
      master_key: 'sk-file',
      database_url: 'postgresql://env',
    })
    expect(loadConfig(null, env).config.general_settings.master_key).toBe('sk-env')
  })
})
