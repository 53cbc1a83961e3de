import { readdirSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { basename, dirname, join, normalize, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { PROVIDERS } from '../../shared/catalog/providers.ts'
import { FOLDERS, importsOf, ROOT, type Source, sources, walk } from './sources.ts'

/** Folder → folders it may see besides itself. Only `deploy` may see more than one service. */
const MAY_SEE: Record<(typeof FOLDERS)[number], readonly string[]> = {
  proto: [],
  shared: ['proto'],
  edge: ['proto', 'shared'],
  'router-svc': ['proto', 'shared'],
  'accounting-svc': ['proto', 'shared'],
  loadtest: ['proto', 'shared'],
  deploy: FOLDERS,
}

/** Library → the files that may import it: one each, so that swapping a library is editing a file. */
const IMPORTERS: Record<string, readonly string[]> = {
  '@nats-io/': ['shared/bus/nats.ts'],
  msgpackr: ['shared/bus/codec.ts'],
  undici: ['shared/http/client.ts'],
  pino: ['shared/log.ts'],
  'prom-client': ['shared/metrics.ts'],
  '@opentelemetry/': ['shared/trace.ts'],
  '@grpc/': ['shared/trace.ts'],
  zod: ['shared/schema.ts'],
  yaml: ['shared/config/load.ts'],
  pg: ['shared/db/postgres.ts'],
  ioredis: ['shared/redis.ts'],
  '@pydantic/genai-prices': ['shared/catalog/catalog.ts'],
  'uWebSockets.js': ['edge/server.ts'],
  'gpt-tokenizer': ['router-svc/count-tokens.ts'],
  '@smithy/': ['shared/http/aws-signature.ts'],
  '@aws-sdk/': ['router-svc/credentials/aws-chain.ts'],
  'google-auth-library': ['router-svc/credentials/google.ts'],
  '@hono/': ['accounting-svc/http.ts', 'accounting-svc/routes/route.ts'],
  hono: ['accounting-svc/http.ts', 'accounting-svc/routes/route.ts'],
  'swagger-ui-dist': ['accounting-svc/routes/openapi.ts'],
}

/** `dist` is made by `npm run build` and ignored by git. */
const TOP_LEVEL = [
  ...FOLDERS,
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'README.md',
  'LICENSE',
  'node_modules',
  'dist',
]
/** Folders whose files turn values into values; whatever does I/O has no place there. */
const PURE = ['router-svc/providers/', 'router-svc/dialects/', 'router-svc/canonical/']

const all = sources()
const shipped = all.filter((source) => !source.isTest)

function library(name: string): string | null {
  if (name.startsWith('.') || isBuiltin(name)) return null
  return name.startsWith('@') ? name.split('/').slice(0, 2).join('/') : (name.split('/')[0] as string)
}

function target(source: Source, name: string): string {
  return normalize(join(dirname(source.path), name))
}

function offenders(files: Source[], wrong: (source: Source) => string[]): string[] {
  return files.flatMap((source) => wrong(source).map((what) => `${source.path}: ${what}`))
}

describe('boundaries', () => {
  it('hold between folders: no import leaves what a folder may see', () => {
    const wrong = offenders(all, (source) => {
      const folder = source.path.split('/')[0] as (typeof FOLDERS)[number]
      return importsOf(source).filter((name) => {
        if (!name.startsWith('.')) return folder === 'proto' && !source.isTest
        const seen = target(source, name).split('/')[0] as string
        return seen !== folder && !MAY_SEE[folder].includes(seen)
      })
    })
    expect(wrong).toEqual([])
  })

  it('hold around libraries: each is imported by its one file', () => {
    const wrong = offenders(shipped, (source) =>
      importsOf(source).filter((name) => {
        const wanted = library(name)
        if (wanted === null || (wanted === 'vitest' && source.path.startsWith('deploy/tools/'))) return false
        const rule = Object.keys(IMPORTERS).find((key) => (key.endsWith('/') ? wanted.startsWith(key) : wanted === key))
        return rule === undefined || !(IMPORTERS[rule] as readonly string[]).includes(source.path)
      }),
    )
    expect(wrong).toEqual([])
  })

  it('are imported by path with the file ending, which type stripping needs', () => {
    const wrong = offenders(all, (source) =>
      importsOf(source).filter((name) => name.startsWith('.') && !/\.(ts|mjs|json)$/.test(name)),
    )
    expect(wrong).toEqual([])
  })

  it('hold around the environment: it is read by configuration, mains and deploy', () => {
    // The library has no main: this one file reads the environment of the program that imports it.
    const library = 'router-svc/library/environment.ts'
    const allowed = (path: string) =>
      /^(shared\/config|deploy|loadtest)\//.test(path) || basename(path) === 'main.ts' || path === library
    const wrong = offenders(
      shipped.filter(({ path }) => !allowed(path)),
      // Its HTTP server takes this one setting from nowhere else.
      ({ code }) => code.match(/\bprocess\.env\b(?!\['UWS_HTTP_MAX_HEADERS_SIZE'\])/g) ?? [],
    )
    expect(wrong).toEqual([])
  })

  it('hold around the console: a process logs, only deploy and loadtest print', () => {
    const wrong = offenders(
      shipped.filter(({ path }) => !/^(deploy|loadtest)\//.test(path)),
      ({ code }) => code.match(/\bconsole\.\w+/g) ?? [],
    )
    expect(wrong).toEqual([])
  })

  it('hold around provider names: nothing outside the providers compares with one', () => {
    const names = Object.keys(PROVIDERS).join('|')
    const comparison = new RegExp(
      `provider\\w*\\s*[!=]==?\\s*['"](${names})['"]|['"](${names})['"]\\s*[!=]==?\\s*\\w*[pP]rovider|case ['"](${names})['"]:`,
      'g',
    )
    const outside = shipped.filter(
      ({ path }) =>
        /^(edge|router-svc|accounting-svc|shared)\//.test(path) && !/^(router-svc\/providers|shared\/catalog)\//.test(path),
    )
    expect(offenders(outside, ({ code }) => code.match(comparison) ?? [])).toEqual([])
  })

  it('keep adapters and dialects pure: they import nothing that does I/O', () => {
    const inside = shipped.filter(({ path }) => PURE.some((folder) => path.startsWith(folder)))
    expect(inside.length).toBeGreaterThan(5)
    const harmless =
      /^(proto\/|shared\/(entry|errors|ids|json-object|money|nesting|numeric|catalog\/|http\/sse)|router-svc\/(json-members|aws-event-stream|(providers|dialects|canonical)\/))/
    const wrong = offenders(inside, (source) => {
      const imports = importsOf(source).filter((name) =>
        name.startsWith('.') ? !harmless.test(target(source, name)) : name !== 'node:crypto' && name !== 'node:zlib',
      )
      const reached = source.code.match(/\b(fetch\(|setTimeout\(|setInterval\(|Date\.now\(|Math\.random\(|process\.)/g) ?? []
      return [...imports, ...reached]
    })
    expect(wrong).toEqual([])
  })

  it('are not blurred by names that say nothing', () => {
    const files = FOLDERS.flatMap((folder) => walk(join(ROOT, folder))).map((file) => relative(ROOT, file))
    expect(files.filter((file) => /^(utils?|helpers?|common|misc|shared-utils)(\.|$)/i.test(basename(file)))).toEqual([])
    const odd = all.map(({ path }) => basename(path)).filter((name) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)+$/.test(name))
    expect(odd).toEqual([])
  })

  it('include the top level, which holds what is agreed and nothing else', () => {
    const extra = readdirSync(ROOT).filter((name) => !name.startsWith('.') && !TOP_LEVEL.includes(name))
    expect(extra).toEqual([])
  })

  it('name only files that exist', () => {
    const paths = new Set(all.map(({ path }) => path))
    const importers = [...new Set(Object.values(IMPORTERS).flat())]
    expect(importers.filter((path) => !paths.has(path))).toEqual([])
  })
})

describe('the reading of imports', () => {
  const read = (code: string) => importsOf({ path: 'x.ts', text: code, code, isTest: false })

  it('sees every form of import', () => {
    expect(read("import a from './a.ts'\nimport {\n  b,\n  type C,\n} from 'b'\nimport 'c'")).toEqual(['./a.ts', 'b', 'c'])
    expect(read("export * from './d.ts'\nexport { e } from './e.ts'\nconst f = await import('./f.ts')")).toEqual([
      './d.ts',
      './e.ts',
      './f.ts',
    ])
    expect(read("import type { G } from 'g'\nexport const text = 'from'\nexport function from() { return 'x' }")).toEqual(['g'])
  })
})

describe('file sizes', () => {
  it('are printed, and no shipped file is a heap', () => {
    const lines = (source: Source) => source.text.split('\n').length
    const sorted = shipped.toSorted((a, b) => lines(b) - lines(a))
    const median = lines(sorted[Math.floor(sorted.length / 2)] as Source)
    console.log(`${shipped.length} files, median ${median} lines; largest:`)
    for (const source of sorted.slice(0, 10)) console.log(`  ${String(lines(source)).padStart(5)}  ${source.path}`)
    expect(sorted.filter((source) => lines(source) > 800).map(({ path }) => path)).toEqual([])
  })
})
