import { type LookupAddress, type LookupOptions, lookup as resolve } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'

/** What an address that is not of the internet belongs to (the IANA registries of special-purpose addresses). */
const INSIDE = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  // Link-local: the metadata services of clouds.
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const)
  INSIDE.addSubnet(network, prefix, 'ipv4')
/** All of IPv6 that is routed on the internet, and what of it is not: documentation, and ways to IPv4 addresses of any kind. */
const ROUTED = new BlockList()
ROUTED.addSubnet('2000::', 3, 'ipv6')
const TUNNELS = new BlockList()
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  TUNNELS.addSubnet(network, prefix, 'ipv6')

/** Whether an IP address is one of the internet; false for anything that is none. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return !INSIDE.check(address, 'ipv4')
  return family === 6 && ROUTED.check(address, 'ipv6') && !TUNNELS.check(address, 'ipv6')
}

/** Resolves a name for a connection as `dns.lookup` does, and fails where any of its addresses is not public: a name may change between two questions. */
export function publicLookup(using: typeof resolve = resolve): LookupFunction {
  return (hostname, options, done) => {
    const all: LookupOptions & { all: true } = { ...options, all: true }
    using(hostname, all, (error, addresses: LookupAddress[]) => {
      const [first] = addresses ?? []
      if (error !== null) done(error, '')
      else if (first === undefined || !addresses.every(({ address }) => isPublicAddress(address))) done(notPublic(), '')
      else if (options.all === true) done(null, addresses)
      else done(null, first.address, first.family)
    })
  }
}

function notPublic(): NodeJS.ErrnoException {
  return Object.assign(new Error('the name leads to an address that is not public'), { code: 'ENOTFOUND' })
}
