import { BlockList, isIPv4, isIPv6 } from 'node:net'
import type { NetworkInterfaceInfo } from 'node:os'
import { StageError, describe } from '../../src/errors.js'

// Pure functions for choosing the address to bind and the address to publish, and for formatting and parsing both. The two
// differ: nobody can dial the wildcard `0.0.0.0`, and behind NAT the published host is not even on this machine.

/** The result of `os.networkInterfaces()`. */
export type Machine = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>

const subnets = (...nets: (readonly [string, number, 'ipv4' | 'ipv6'])[]): BlockList => {
  const list = new BlockList()
  for (const net of nets) list.addSubnet(...net)
  return list
}
const loopback = subnets(['127.0.0.0', 8, 'ipv4'], ['::1', 128, 'ipv6'])
/** RFC 1918, and RFC 6598, which overlay networks assign. */
const privates = subnets(['10.0.0.0', 8, 'ipv4'], ['172.16.0.0', 12, 'ipv4'], ['192.168.0.0', 16, 'ipv4'], ['100.64.0.0', 10, 'ipv4'])
/** Valid on one network segment only: another machine would have to know through which of its interfaces to dial. */
const linkLocal = subnets(['169.254.0.0', 16, 'ipv4'], ['fe80::', 10, 'ipv6'])

const covers = (list: BlockList, host: string): boolean =>
  isIPv4(host) ? list.check(host) : isIPv6(host) && list.check(host.replace(/%.*/, ''), 'ipv6')

/** True for a host that only this machine can reach. */
export const isLoopback = (host: string): boolean => host.toLowerCase() === 'localhost' || covers(loopback, host)

/** True for the unspecified address, which binds every address of the machine and cannot be dialled. */
export const isWildcard = (host: string): boolean => /^[0.]+$/.test(host) || (isIPv6(host) && /^[0:]+$/.test(host))

/** A host name, an IPv4 address, or an IPv6 address without brackets. */
export const isHost = (host: string): boolean => isIPv6(host) || /^[\w-]+(\.[\w-]+)*\.?$/.test(host)

/** The address to bind when only the published host was given. */
export function bindFor(host: string): string {
  if (!isLoopback(host)) return isIPv6(host) ? '::' : '0.0.0.0'
  return isIPv4(host) || isIPv6(host) ? host : '127.0.0.1'
}

/**
 * The one address of this machine to publish when a wildcard was bound.
 * @throws StageError BAD_ARGUMENT if there is no such address, or several among which only the operator can choose
 */
export function publicHost(machine: Machine, bind: string): string {
  const found = Object.entries(machine).flatMap(([nic, addresses]) => (addresses ?? []).map(({ address, internal }) => ({ nic, address, internal })))
  const usable = found.filter(({ address, internal }) => !internal && !covers(linkLocal, address) && (isIPv4(address) || isIPv6(bind)))
  const unique = [...new Set(usable.map(({ address }) => address))]
  const ours = unique.filter((address) => covers(privates, address))
  const [only, ...others] = ours.length > 0 ? ours : unique
  if (only !== undefined && others.length === 0) return only
  const listed = found.map(({ nic, address }) => `${address} (${nic})`).join(', ') || 'no address'
  throw new StageError('BAD_ARGUMENT', `cannot tell which address peers should dial to reach ${bind}: this machine has ${listed}; pass \`host\` or set $STAGE_HOST`)
}

/** `tcp://10.0.0.5:4000`; IPv6 in brackets. */
export const formatAddress = (host: string, port: number, scheme = 'tcp'): string => `${scheme}://${isIPv6(host) ? `[${host}]` : host}:${port}`

/**
 * The inverse of `formatAddress`.
 * @throws StageError BAD_ARGUMENT naming the malformed address
 */
export function parseAddress(address: string, scheme = 'tcp'): { host: string; port: number } {
  const rest = address.startsWith(`${scheme}://`) ? address.slice(scheme.length + 3) : ''
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^[\]:]+)):(\d{1,5})$/.exec(rest) ?? []
  const host = bracketed ?? plain ?? ''
  const port = Number(digits)
  const good = bracketed === undefined ? isHost(host) : isIPv6(host)
  if (!good || !(port > 0 && port < 65536)) {
    const form = `${scheme}://host:port, with an IPv6 host in brackets and a port of 1 to 65535`
    throw new StageError('BAD_ARGUMENT', `${describe(address)} is not an address that can be dialled: expected ${form}`)
  }
  return { host, port }
}

/** @throws TypeError */
export function checkPort(port: number | undefined): void {
  if (port === undefined || (Number.isInteger(port) && port >= 0 && port <= 65535)) return
  throw new TypeError(`port must be an integer of 0 to 65535, not ${String(port)}`)
}

/** @returns the host without brackets @throws TypeError */
function checkedHost(option: string, host: string | undefined): string | undefined {
  const bare = host?.replace(/^\[(.*)\]$/, '$1')
  if (bare === undefined || isHost(bare)) return bare
  throw new TypeError(`${option} must be a host name or an IP address without scheme and port, not ${JSON.stringify(host)}`)
}

/** Why a port cannot be bound, with what to do about it. */
export function bindError(cause: NodeJS.ErrnoException, port: number, host: string): Error {
  if (cause.code === 'EADDRINUSE') {
    return new StageError('BAD_ARGUMENT', `port ${port} of ${host} is taken by another process; pass another port, or 0 for any free one`, { cause })
  }
  if (cause.code === 'EADDRNOTAVAIL') {
    return new StageError('BAD_ARGUMENT', `cannot bind ${host}: it is not an address of this machine; pass the address that peers dial as \`host\``, { cause })
  }
  return cause
}

/**
 * The address to bind, and the host to publish: undefined if a wildcard is bound, whose host is then read from the machine, or if
 * a function finds the host out later, for which every address is bound.
 * @param asks  the interface takes a function
 * @throws TypeError
 */
export function placeOf(
  options: { host?: string | (() => unknown) | undefined; bind?: string | undefined }, byDefault: string, asks = false,
): { bind: string; host: string | undefined } {
  if (typeof options.host === 'function' && !asks) throw new TypeError('host is a function, which only the TCP interface takes: expected a host name or an IP address')
  if (typeof options.host === 'function') return { bind: checkedHost('bind', options.bind) ?? '0.0.0.0', host: undefined }
  const host = checkedHost('host', options.host ?? (process.env.STAGE_HOST || undefined))
  const bind = checkedHost('bind', options.bind) ?? (host === undefined ? byDefault : bindFor(host))
  if (host !== undefined && isWildcard(host)) throw new TypeError(`host is the address that peers dial, and ${host} cannot be dialled: pass it as \`bind\``)
  return { bind, host: host ?? (isWildcard(bind) ? undefined : bind) }
}
