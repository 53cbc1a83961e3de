import { readFileSync } from 'node:fs'

const WARN = 40

/** Warnings and worse in a gateway's log, each message with how often it was said. */
export function warningsOf(text: string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const line of text.split('\n')) {
    // A cluster puts the process in front: `[router-0] {"level":40,…}`.
    const start = line.indexOf('{')
    if (start < 0) continue
    try {
      const { level, msg } = JSON.parse(line.slice(start)) as { level?: number; msg?: string }
      if (typeof level === 'number' && level >= WARN) counts[msg ?? ''] = (counts[msg ?? ''] ?? 0) + 1
    } catch {
      // Not a log line.
    }
  }
  return counts
}

export function readWarnings(file: string): Record<string, number> {
  return warningsOf(readFileSync(file, 'utf8'))
}
