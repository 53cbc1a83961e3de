import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createCatalog } from '../../shared/catalog/catalog.ts'
import { ConfigError, loadConfig } from '../../shared/config/load.ts'
import { processSettings } from '../../shared/config/process.ts'
import { deploymentsOf, settingsOf } from '../../shared/config/runtime.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import { StartError } from '../../shared/start-error.ts'
import { mutateBytes, type Random } from './mutate.ts'
import { processMemory } from './process-memory.ts'
import type { Case, Session, Target } from './target.ts'

const ROOT = join(import.meta.dirname, '../..')
/** Files whose texts in backquotes are configurations of the shapes that LiteLLM documents. */
const EXAMPLES = ['shared/config/litellm-examples.test.ts', 'shared/config/load.test.ts', 'shared/config/services.test.ts']
const SECRET = 'sk-hush-c0ffee'
const ENV = { OPENAI_API_KEY: SECRET, ANTHROPIC_API_KEY: SECRET, REDIS_HOST: 'redis.internal', REDIS_PASSWORD: SECRET }

/** Characters of one file. */
const SIZE_MAX = 48 * 1024

/** Configuration files. A wrong one ends in ConfigError with the places that are wrong, and in nothing else. */
export const config: Target = {
  name: 'config',
  about: 'configuration files: mutations of the example and of the forms LiteLLM documents',
  deadline: 10_000,
  inProcess: true,
  memoryLimit: 48 * 1024 * 1024,
  async open(): Promise<Session> {
    const folder = mkdtempSync(join(tmpdir(), 'turnpike-fuzz-config-'))
    const catalog = createCatalog()
    const sealer = createSealer('salt')
    const seeds = examples()
    const file = join(folder, 'config.yaml')
    return {
      make: (random) => ({ head: {}, body: mutated(random.pick(seeds), seeds, random) }),
      async run({ body }: Case) {
        writeFileSync(file, body)
        try {
          const loaded = loadConfig(file, ENV, { catalog })
          deploymentsOf(loaded.config, loaded.env, sealer, { catalog })
          settingsOf(loaded.config, sealer, loaded.env)
          processSettings(loaded.env, loaded.config)
          return told([...loaded.warnings, ...loaded.notes].join('\n'))
        } catch (error) {
          if (error instanceof ConfigError) return wrongProblems(error) ?? told(error.message)
          if (error instanceof StartError) return told(error.message)
          return String((error as Error).stack).slice(0, 800)
        }
      },
      memory: processMemory,
      check: async () => [],
      close: async () => rmSync(folder, { recursive: true, force: true }),
    }
  },
}

function told(text: string): string | null {
  return text.includes(SECRET) ? `a secret is told: ${text.slice(0, 300)}` : null
}

function wrongProblems({ problems }: ConfigError): string | null {
  if (problems.length === 0) return 'an error without a problem'
  const mute = problems.find(({ message, file }) => message.trim() === '' || file === '')
  return mute === undefined ? null : `a problem that says nothing: ${JSON.stringify(mute)}`
}

function examples(): string[] {
  const sources = EXAMPLES.map((path) => readFileSync(join(ROOT, path), 'utf8'))
  const literals = sources.flatMap((source) => [...source.matchAll(/`([^`]*)`/g)].map(([, text]) => text as string))
  const yaml = literals.filter((text) => /^[a-z_]+:/m.test(text) && text.includes('\n'))
  const models = yaml.find((text) => text.includes('model_list:')) ?? ''
  return [
    readFileSync(join(ROOT, 'deploy/config.example.yaml'), 'utf8').replace(/^# (?=turnpike| {2})/gm, ''),
    ...yaml.map((text) => text.replace(/\$\{MODELS\}/g, models).replace(/\$\{[^}]*\}/g, 'x')),
  ]
}

/** Values that stand where others belong. */
const VALUES: readonly string[] = [
  '',
  '~',
  'null',
  'true',
  'no',
  '0',
  '-1',
  '1e999',
  '.inf',
  '.nan',
  '0x7fffffffffffffff',
  '1'.repeat(400),
  '1_000',
  '12:30:45',
  '2024-01-01',
  '[]',
  '{}',
  '[[]]',
  '[null]',
  '{a: }',
  '{__proto__: {a: 1}}',
  '{constructor: 1}',
  '{? a : b}',
  '"\\ud800"',
  '"\\0"',
  "'",
  '"',
  '|',
  '>-',
  '*a',
  '&a x',
  '&a [*a]',
  '!!binary AAAA',
  '!!set {a}',
  '!!js/function "x"',
  '!x y',
  '!!int x',
  '!!float x',
  'os.environ/',
  'os.environ/NOPE',
  'os.environ/OPENAI_API_KEY',
  'os.environ/__proto__',
  'os.environ/constructor',
  '@',
  '%',
  '`',
  '💥',
  '\u0000',
  'config.yaml',
  '/',
  '.',
  'mock/mock',
  'openai/*',
  '*',
  '**',
  '(',
  '[a-',
  'a'.repeat(5000),
  'http://',
  'http://[',
  '-',
  '?',
  ':',
  '{',
  ']',
]
/** Lines that are more than a value. */
const LINES: readonly string[] = [
  '---',
  '...',
  '%YAML 9.9',
  '<<: *a',
  '<<: {model_list: 1}',
  '? [a, b]\n: c',
  '__proto__: {polluted: true}',
  'constructor: {prototype: {polluted: true}}',
  'include: config.yaml',
  'include: [config.yaml, /etc/hostname]',
  'include: {a: b}',
  'include: [[.]]',
  'environment_variables: {PATH: os.environ/PATH, A: os.environ/A}',
  'environment_variables: [1]',
  'model_list: *a',
  '\ttab: 1',
  'a: &a {<<: *a}',
  'router_settings: 1',
  'general_settings: []',
  'litellm_settings: {callbacks: {}}',
  'turnpike_settings: x',
  'model_list:\n  - model_name: [a]\n    litellm_params: {model: {a: 1}}',
  `a: &a [${'x,'.repeat(9)}x]\n${'bcdefghij'
    .split('')
    .map((name, at) => `${name}: &${name} [${`*${'abcdefghi'[at]},`.repeat(9)}*${'abcdefghi'[at]}]`)
    .join('\n')}`,
  `deep: ${'['.repeat(3000)}${']'.repeat(3000)}`,
  `deep: ${'{a: '.repeat(2000)}1${'}'.repeat(2000)}`,
  `model_list: ${'[{litellm_params: '.repeat(500)}1${'}]'.repeat(500)}`,
]

function mutated(text: string, seeds: readonly string[], random: Random): Uint8Array {
  const lines = text.split('\n')
  for (let left = 1 + random.int(4); left > 0; left -= 1) {
    const at = random.int(lines.length)
    const line = lines[at] as string
    switch (random.int(8)) {
      case 0:
        lines.splice(at, 1)
        break
      case 1:
        lines.splice(at, 0, random.pick(random.pick(seeds).split('\n')))
        break
      case 2:
        lines[at] = random.chance(0.5) ? ` ${line}` : line.replace(/^ {1,2}/, '')
        break
      case 3:
        lines.splice(at, 0, ...Array.from({ length: random.pick([1, 1, 50]) }, () => line))
        break
      case 4:
        lines.splice(at, 0, line.replace(/\S.*/s, '') + random.pick(LINES))
        break
      default:
        // The last value of a line, or one within braces.
        lines[at] = line.replace(random.chance(0.7) ? /(?<=[:-] )[^:]*$/ : /(?<=[:,[] ?)[^:,[\]{}]+(?=[,\]}])/, () =>
          random.pick(VALUES),
        )
    }
  }
  const bytes = Buffer.from(lines.join('\n').slice(0, SIZE_MAX))
  return random.chance(0.1) ? mutateBytes(bytes, random) : bytes
}
