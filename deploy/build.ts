// Makes the npm package of the library: JavaScript and declarations of `router-svc/library` and of all that it imports, because Node strips no
// types below node_modules. `npm run build`, then `npm pack ./dist` or `npm publish ./dist`.
//
//   node deploy/build.ts [folder; default dist]
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '..')
const DOOR = 'router-svc/library/index'
/** undici, which makes the connections, needs it. */
const ENGINE = '>=22.19.0'

/** As the compiler writes them: statements at the beginning of a line, and `import('…')` anywhere. */
const IMPORT = /^(?:import\s*|(?:import|export)\b[^'"=;]*?\bfrom\s*)['"]([^'"\n]+)['"]|\bimport\(\s*['"]([^'"\n]+)['"]/gm

interface Package {
  name: string
  version: string
  description: string
  license: string
  workspaces: string[]
  dependencies?: Record<string, string>
}

const target = resolve(process.argv[2] ?? join(ROOT, 'dist'))
if (existsSync(target) && !existsSync(join(target, 'package.json')))
  throw new Error(`${target} is there and was not made by this: another folder, please.`)
const compiled = mkdtempSync(join(tmpdir(), 'turnpike-build-'))
try {
  compile(compiled)
  rmSync(target, { recursive: true, force: true })
  const libraries = new Set<string>()
  // What only types need is in the declarations alone: the compiler writes both for every file it has read.
  take(compiled, target, `${DOOR}.js`, libraries)
  take(compiled, target, `${DOOR}.d.ts`, libraries)
  copyFileSync(join(ROOT, 'LICENSE'), join(target, 'LICENSE'))
  writeFileSync(join(target, 'package.json'), `${JSON.stringify(manifest(libraries), null, 2)}\n`)
} finally {
  rmSync(compiled, { recursive: true, force: true })
}
console.log(`The library is in ${relative(process.cwd(), target) || '.'}: npm pack or npm publish it from there.`)

function compile(folder: string): void {
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
  const project = join(import.meta.dirname, 'tsconfig.library.json')
  const { status } = spawnSync(process.execPath, [compiler, '-p', project, '--outDir', folder], { stdio: 'inherit' })
  if (status !== 0) throw new Error('The library does not compile; what the compiler said is above.')
}

/** Copies a file and whatever it imports, and notes the libraries among it. */
function take(from: string, to: string, first: string, libraries: Set<string>): void {
  const seen = new Set([first])
  for (const path of seen) {
    const text = withOwnPaths(readFileSync(join(from, path), 'utf8'), path)
    mkdirSync(dirname(join(to, path)), { recursive: true })
    writeFileSync(join(to, path), text)
    const types = path.endsWith('.d.ts')
    for (const [, whole, lazy] of text.matchAll(IMPORT)) {
      const name = (whole ?? lazy) as string
      if (isBuiltin(name)) continue
      if (!name.startsWith('.')) libraries.add(libraryOf(name))
      else seen.add(join(dirname(path), types ? name.replace(/\.js$/, '.d.ts') : name))
    }
  }
}

/** The compiler leaves `.ts` in declarations, and names workspaces in some. */
function withOwnPaths(text: string, path: string): string {
  return text
    .replace(/(['"])@turnpike\/([\w./-]+)\1/g, (_, quote: string, name: string) => {
      const own = relative(dirname(path), name)
      return `${quote}${own.startsWith('.') ? own : `./${own}`}${quote}`
    })
    .replace(/((?:from|import)\s*\(?\s*['"]\.[^'"\n]*)\.ts(['"])/g, '$1.js$2')
}

function libraryOf(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/')
}

function manifest(libraries: ReadonlySet<string>): object {
  const { name, version, description, license, workspaces } = read('package.json')
  const known = Object.assign({}, ...workspaces.map((folder) => read(join(folder, 'package.json')).dependencies)) as Record<
    string,
    string
  >
  const dependencies = Object.fromEntries(
    [...libraries].sort().map((library) => {
      const locked = known[library]
      if (locked === undefined) throw new Error(`The library imports ${library}, which no workspace depends on.`)
      return [library, locked]
    }),
  )
  return {
    name,
    version,
    description,
    license,
    type: 'module',
    sideEffects: false,
    exports: { '.': { types: `./${DOOR}.d.ts`, default: `./${DOOR}.js` } },
    engines: { node: ENGINE },
    dependencies,
  }
}

function read(path: string): Package {
  return JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as Package
}
