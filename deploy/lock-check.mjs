/**
 * The locked packages this machine should have and has not, by path; npm's own lists of `package-lock.json` and of
 * `node_modules/.package-lock.json`. Taking a complete folder for an incomplete one costs a reinstall under running processes, so
 * optional packages count only when they name this platform: the others may be absent because what pulled them in was skipped.
 *
 * @param {Record<string, any>} locked
 * @param {Record<string, any>} installed
 * @param {{ platform: string, arch: string }} machine
 * @param {boolean} tools whether development dependencies count
 * @returns {string[]}
 */
export function missingPackages(locked, installed, machine, tools) {
  return Object.entries(locked)
    .filter(([path, entry]) => {
      if (!path.startsWith('node_modules/') || entry.link || entry.version === installed[path]?.version) return false
      if (!tools && (entry.dev || entry.devOptional)) return false
      if (!entry.optional) return true
      const named = entry.os !== undefined && entry.cpu !== undefined
      return named && entry.os.includes(machine.platform) && entry.cpu.includes(machine.arch) && !entry.libc?.includes('musl')
    })
    .map(([path]) => path)
}
