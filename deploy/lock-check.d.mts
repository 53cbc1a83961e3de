interface LockEntry {
  version?: string
  link?: boolean
  optional?: boolean
  dev?: boolean
  devOptional?: boolean
  os?: string[]
  cpu?: string[]
  libc?: string[]
}

export function missingPackages(
  locked: Record<string, LockEntry>,
  installed: Record<string, LockEntry>,
  machine: { platform: string; arch: string },
  tools: boolean,
): string[]
