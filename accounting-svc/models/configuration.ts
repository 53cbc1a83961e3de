import { createHash } from 'node:crypto'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import { type Finding, inspect } from '../../shared/config/inspect.ts'
import { formatPath } from '../../shared/config/references.ts'
import type { Sealer } from '../../shared/config/secrets.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { GatewayError, toGatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { actorOf } from '../identity/access.ts'
import { auditEntry } from '../identity/audit.ts'
import type { Writer } from '../identity/writer.ts'
import { audit } from '../sql/audit.ts'
import {
  deleteStoredSetting,
  listBlockedDeployments,
  listStoredFallbacks,
  listStoredSettings,
  putStoredSetting,
  type StoredFallbackRow,
} from '../sql/settings.ts'
import { openedField, readField, type SectionName, sealedField, shownField, withFields } from './changeable.ts'
import { FALLBACK_FIELDS, type FallbackKind } from './fallbacks.ts'
import type { Runtime } from './runtime.ts'

/** Fields by section, as they are used; null takes the stored value away, and what the file says holds again. */
export type SettingChanges = Partial<Record<SectionName, Record<string, unknown>>>

/**
 * The configuration in force: the file's, with what the management API stored over it. Every accounting process has the same, because the
 * stored part is read again whenever another process says that it changed.
 */
export interface Configuration {
  /** What is in force. */
  current(): Config
  /** What the file says. */
  file(): Config
  /** Names that are stored, by section. */
  stored(): Readonly<Partial<Record<SectionName, readonly string[]>>>
  /** Fallbacks set for single groups through the API. */
  readonly fallbacks: readonly StoredFallbackRow[]
  /** Ids of deployments blocked through the API. */
  readonly blocked: ReadonlySet<string>
  /** Reads what is stored; to be done before anything else. */
  load(): Promise<void>
  /** Takes another file. A configuration that cannot be built leaves the old one in place and rejects. */
  useFile(next: Config): Promise<void>
  /**
   * Sets fields over the file, publishes, and gives what is probably a mistake. Throws GatewayError `bad_request` with every problem; then
   * nothing is changed.
   */
  change(changes: SettingChanges, by: Writer): Promise<string[]>
  /** Runs a write of something stored, then puts it in force everywhere. */
  write<Result>(work: (tx: Transaction) => Promise<Result>): Promise<Result>
  /**
   * Reads what is stored again; what differs is put in force, and published. With `announced` (what `change` told of on the bus) another
   * process has published just that; where the database has moved on since, whoever moved it will publish and announce, and nothing is done.
   */
  refresh(announced?: string): Promise<void>
}

/** The broadcast after a change: a digest of all that was stored when it was published. */
interface SettingsChanged {
  stored: string
}

export function createConfiguration(deps: {
  db: Database
  bus: Bus
  sealer: Sealer
  catalog: Catalog
  file: Config
  runtime: () => Runtime
  log: Log
}): Configuration {
  const { db, bus, sealer, catalog, log } = deps
  let { file } = deps
  let current = file
  let fields: Partial<Record<SectionName, Record<string, unknown>>> = {}
  let fallbacks: StoredFallbackRow[] = []
  let blocked: ReadonlySet<string> = new Set()
  /** Digests of what of the database is in force, and of what was read last; they differ where publishing failed. */
  let inForce = ''
  let readLast = ''

  let turn: Promise<unknown> = Promise.resolve()

  /** One at a time: of two readings the later would otherwise be undone by the earlier. */
  function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = turn.then(work)
    turn = done.catch(() => undefined)
    return done
  }

  /** What cannot be opened (the gateway has another secret now) fits no more than what is malformed. */
  function readStored(section: SectionName, name: string, value: unknown): ReturnType<typeof readField> {
    try {
      return readField(section, name, openedField(name, value, sealer))
    } catch (thrown) {
      return { problems: [`${section}.${name}: ${toGatewayError(thrown).message}`] }
    }
  }

  async function read(): Promise<void> {
    const [settings, lists, ids] = await Promise.all([
      listStoredSettings(db),
      listStoredFallbacks(db),
      listBlockedDeployments(db),
    ])
    fields = {}
    for (const row of settings) {
      const section = row.section as SectionName
      const field = readStored(section, row.name, row.value)
      if ('value' in field) fields[section] = { ...fields[section], [row.name]: field.value }
      else log.warn({ problems: field.problems }, 'a stored setting does not fit and is left out')
    }
    fallbacks = lists
    blocked = new Set(ids)
    readLast = createHash('sha256')
      .update(JSON.stringify([settings, lists, ids]))
      .digest('hex')
  }

  const merged = (from: Config, changes = fields): Config => withFallbacks(withFields(from, changes), fallbacks)

  /** Another configuration reaches everybody whom it concerns: limits, lists of models and defaults may be others now. */
  async function putInForce(from: Config, publish: boolean): Promise<void> {
    const next = merged(from)
    const seen = readLast
    if (publish) await deps.runtime().use(next)
    else await deps.runtime().follow(next)
    file = from
    current = next
    inForce = seen
    if (!publish) return
    bus.announce('settings', { stored: seen } satisfies SettingsChanged)
    bus.announce('identity', {})
    bus.announce('budget', {})
  }

  const refresh = (announced?: string): Promise<void> =>
    inTurn(async () => {
      await read()
      if (readLast === inForce || (announced !== undefined && announced !== readLast)) return
      await putInForce(file, announced === undefined)
    })

  async function write<Result>(work: (tx: Transaction) => Promise<Result>): Promise<Result> {
    const result = await db.transaction(work)
    await refresh()
    return result
  }

  return {
    current: () => current,
    file: () => file,
    stored: () => Object.fromEntries(Object.entries(fields).map(([section, own]) => [section, Object.keys(own)])),
    get fallbacks() {
      return fallbacks
    },
    get blocked() {
      return blocked
    },
    async load() {
      await read()
      current = merged(file)
      inForce = readLast
    },
    useFile: (next) => inTurn(() => putInForce(next, true)),
    async change(changes, by) {
      await inTurn(read)
      const { set, removed } = readChanges(changes)
      const after: typeof fields = {}
      for (const section of new Set([...sections(fields), ...sections(set)])) {
        const own = { ...fields[section], ...set[section] }
        for (const name of removed[section] ?? []) delete own[name]
        after[section] = own
      }
      const warnings = refuseProblems(merged(file), merged(file, after), catalog)
      await write(async (tx) => {
        for (const section of sections(changes)) {
          for (const name of Object.keys(changes[section] ?? {})) {
            const value = set[section]?.[name]
            const before = current[section] as Record<string, unknown>
            if (value === undefined) await deleteStoredSetting(tx, section, name)
            else await putStoredSetting(tx, { section, name, value: sealedField(name, value, sealer) }, actorOf(by.actor))
            const shown = (one: unknown): unknown => (one == null ? null : { [name]: shownField(name, one) })
            const action = value === undefined ? 'deleted' : 'updated'
            await audit(
              tx,
              auditEntry(by.actor, by.changedBy, action, 'settings', `${section}.${name}`, shown(before[name]), shown(value)),
            )
          }
        }
      })
      return warnings
    },
    write,
    refresh,
  }
}

function sections(of: object): SectionName[] {
  return Object.keys(of) as SectionName[]
}

/** Changes as fields to set and names to take away. Throws GatewayError `bad_request` with every problem. */
function readChanges(changes: SettingChanges): {
  set: Partial<Record<SectionName, Record<string, unknown>>>
  removed: Partial<Record<SectionName, string[]>>
} {
  const problems: string[] = []
  const set: Partial<Record<SectionName, Record<string, unknown>>> = {}
  const removed: Partial<Record<SectionName, string[]>> = {}
  for (const section of sections(changes)) {
    for (const [name, value] of Object.entries(changes[section] ?? {})) {
      const field = readField(section, name, value)
      if ('problems' in field) problems.push(...field.problems)
      else if (field.value === null || field.value === undefined) removed[section] = [...(removed[section] ?? []), name]
      else set[section] = { ...set[section], [name]: field.value }
    }
  }
  if (problems.length > 0) throw refusal(problems)
  return { set, removed }
}

/** Throws GatewayError `bad_request` for problems that the change brings; gives the warnings it brings. */
function refuseProblems(before: Config, after: Config, catalog: Catalog): string[] {
  const [old, now] = [inspect({ ...before }, catalog), inspect({ ...after }, catalog)]
  const added = (from: readonly Finding[], to: readonly Finding[]): string[] => {
    const known = new Set(from.map(sentence))
    return to.map(sentence).filter((text) => !known.has(text))
  }
  const problems = added(old.problems, now.problems)
  if (problems.length > 0) throw refusal(problems)
  return added(old.warnings, now.warnings)
}

function sentence({ path, message }: Finding): string {
  return `${formatPath(path)}: ${message}`
}

function refusal(problems: readonly string[]): GatewayError {
  const param = /^[\w.]+/.exec(problems[0] ?? '')?.[0]
  return new GatewayError('bad_request', `${problems.join('; ')}.`, {
    type: 'bad_request_error',
    ...(param === undefined ? {} : { param }),
  })
}

/** `config` with the stored lists of single groups before its own: of several for one group the first counts. */
function withFallbacks(config: Config, rows: readonly StoredFallbackRow[]): Config {
  if (rows.length === 0) return config
  const changes: Record<string, unknown> = {}
  for (const { kind, model_group: group, targets } of rows) {
    const field = FALLBACK_FIELDS[kind as FallbackKind]
    const own = changes[field] ?? config.router_settings[field] ?? config.litellm_settings[field] ?? []
    changes[field] = [{ [group]: targets }, ...(own as unknown[])]
  }
  return withFields(config, { router_settings: changes })
}

/** The longest wait between two looks at what is stored, milliseconds: the announcement of a change may be lost. */
const LOOK_EVERY = 60_000

/** Keeps this process's configuration that of the database: when another process has changed it, and every minute. */
export function watchConfiguration(deps: { bus: Bus; clock: Clock; configuration: Configuration; log: Log }): Service {
  const { bus, clock, configuration, log } = deps
  const refresh = (announced?: string): void => {
    configuration.refresh(announced).catch((error: unknown) => {
      log.error({ err: error }, 'stored settings could not be read')
    })
  }
  const changes = bus.onChange('settings', (payload) => refresh((payload as SettingsChanged).stored))
  const timer = clock.every(LOOK_EVERY, () => refresh())
  return {
    async stop() {
      timer.cancel()
      await changes.stop()
    },
  }
}
