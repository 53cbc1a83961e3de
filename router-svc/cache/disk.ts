import { hash, randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../shared/clock.ts'
import type { Cache } from './cache.ts'
import { decodeEntry, encodeEntry } from './entry.ts'

export interface DiskCacheOptions {
  /** Made when it is not there. What else it holds is left alone. */
  directory: string
  clock: Clock
  maxEntries: number
  maxBytes: number
}

/** A file's name is the SHA-256 of its key, its folder the first two digits of that. */
const NAME = /^[0-9a-f]{64}\.json$/
const FOLDER = /^[0-9a-f]{2}$/
const DRAFT = /^[0-9a-f]{64}\.json\.[0-9a-f]{16}\.draft$/
/** Milliseconds after which a draft was left behind by a process that died. */
const DRAFT_AGE = 60_000

/**
 * Answers in files, there again after a restart. A file is written beside its place and moved into it, so it is whole or not there. Past either
 * bound those used longest ago go first; after a restart, those written longest ago.
 */
export function createDiskCache({ directory, clock, maxEntries, maxBytes }: DiskCacheOptions): Cache {
  /** Sizes by name, in the order of their use. */
  const files = new Map<string, number>()
  let bytes = 0
  let opened: Promise<void> | null = null

  const fileOf = (name: string) => join(directory, name.slice(0, 2), name)
  const nameOf = (key: string) => `${hash('sha256', key, 'hex')}.json`
  const open = (): Promise<void> => {
    opened ??= readAll().catch((thrown) => {
      opened = null
      throw thrown
    })
    return opened
  }

  async function readAll(): Promise<void> {
    await mkdir(directory, { recursive: true })
    const found: { name: string; size: number; at: number }[] = []
    for (const folder of await readdir(directory)) {
      if (!FOLDER.test(folder)) continue
      for (const name of await readdir(join(directory, folder))) {
        if (!isOurs(name)) continue
        const path = join(directory, folder, name)
        const facts = await stat(path).catch(() => null)
        if (facts === null) continue
        if (NAME.test(name)) found.push({ name, size: facts.size, at: facts.mtimeMs })
        // Another process may be writing it now.
        else if (clock.now() - facts.mtimeMs > DRAFT_AGE) await rm(path, { force: true })
      }
    }
    for (const { name, size } of found.toSorted((a, b) => a.at - b.at)) note(name, size)
  }

  function note(name: string, size: number): void {
    forget(name)
    files.set(name, size)
    bytes += size
  }

  function forget(name: string): void {
    bytes -= files.get(name) ?? 0
    files.delete(name)
  }

  /** Whether it was there. */
  async function remove(name: string): Promise<boolean> {
    forget(name)
    try {
      await rm(fileOf(name))
      return true
    } catch (thrown) {
      if (isMissing(thrown)) return false
      throw thrown
    }
  }

  async function evict(): Promise<void> {
    for (const name of files.keys()) {
      if (bytes <= maxBytes && files.size <= maxEntries) return
      await remove(name)
    }
  }

  return {
    async get(key) {
      await open()
      const name = nameOf(key)
      let text: string
      try {
        text = await readFile(fileOf(name), 'utf8')
      } catch (thrown) {
        if (!isMissing(thrown)) throw thrown
        forget(name)
        return null
      }
      const entry = decodeEntry(text)
      if (entry === null || entry.until <= clock.now()) {
        await remove(name)
        return null
      }
      // Another process on this folder may have written it.
      note(name, files.get(name) ?? Buffer.byteLength(text))
      return entry.answer
    },
    async set(key, answer, ttl) {
      await open()
      const name = nameOf(key)
      const entry = encodeEntry(answer, clock.now() + ttl)
      if (entry.length > maxBytes) return
      const path = fileOf(name)
      const draft = `${path}.${randomBytes(8).toString('hex')}.draft`
      await mkdir(join(directory, name.slice(0, 2)), { recursive: true })
      try {
        await writeFile(draft, entry)
        await rename(draft, path)
      } catch (thrown) {
        // A disk that is full must not fill with drafts.
        await rm(draft, { force: true })
        throw thrown
      }
      note(name, entry.length)
      await evict()
    },
    async delete(keys) {
      await open()
      const removed = await Promise.all(keys.map((key) => remove(nameOf(key))))
      return removed.filter(Boolean).length
    },
    async flush() {
      await open()
      for (const folder of await readdir(directory)) {
        if (!FOLDER.test(folder)) continue
        for (const name of await readdir(join(directory, folder))) {
          if (isOurs(name)) await rm(join(directory, folder, name), { force: true })
        }
      }
      files.clear()
      bytes = 0
    },
    async ping() {
      await open()
      return { entries: files.size, bytes }
    },
    async close() {},
  }
}

function isOurs(name: string): boolean {
  return NAME.test(name) || DRAFT.test(name)
}

function isMissing(thrown: unknown): boolean {
  return (thrown as NodeJS.ErrnoException).code === 'ENOENT'
}
