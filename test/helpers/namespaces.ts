import { execFile, spawnSync, type ForkOptions } from 'node:child_process'
import { promisify } from 'node:util'
import type { Assertions } from '../suites/test.js'

const run = promisify(execFile)
let count = 0
const newName = (): string => `stagemesh-${process.pid}-${++count}`

/** Runs `ip` with these arguments, separated by blanks. */
const ip = (args: string): Promise<unknown> => run('ip', args.split(' '))

/** The reason why no hosts can be made here; undefined if they can. */
export const noNamespaces: string | undefined = (() => {
  if (process.platform !== 'linux') return 'network namespaces are Linux only'
  if (process.getuid?.() !== 0) return 'network namespaces need root: run these tests as root'
  if (spawnSync('iptables', ['-V']).status !== 0) return 'iptables is not installed: install the package iptables to run these tests'
  if (spawnSync('ip', ['-V']).status !== 0) return 'ip is not installed: install the package iproute2 to run these tests'
  const probe = newName()
  const { status, stderr } = spawnSync('ip', ['netns', 'add', probe], { encoding: 'utf8' })
  spawnSync('ip', ['netns', 'del', probe])
  return status === 0 ? undefined : `network namespaces are not allowed here: ${stderr.trim()}`
})()

/** A network namespace that acts as a machine: it has only loopback until it is plugged in. */
export class Host {
  #address: string | undefined

  protected constructor(readonly namespace: string) {}

  static async make(t: Pick<Assertions, 'teardown'>): Promise<Host> {
    return Host.open(t, new Host(newName()))
  }

  protected static async open<H extends Host>(t: Pick<Assertions, 'teardown'>, host: H): Promise<H> {
    const { namespace } = host
    t.teardown(async () => { await ip(`netns del ${namespace}`) }) // this also removes the namespace's ends of all cables
    await ip(`netns add ${namespace}`)
    await host.ip('link set lo up')
    return host
  }

  ip(args: string): Promise<unknown> {
    return ip(`-n ${this.namespace} ${args}`)
  }

  /** The command prefix that runs a command in the namespace. */
  get exec(): string[] {
    return ['ip', 'netns', 'exec', this.namespace]
  }

  /** The environment for a process of stages in the namespace. */
  get fork(): ForkOptions {
    const [command = '', ...args] = this.exec
    return { execPath: command, execArgv: [...args, process.execPath] }
  }

  /** Applies a rule of iptables to this machine alone. @returns takes it away again */
  async rule(text: string): Promise<() => Promise<void>> {
    const [command = '', ...args] = [...this.exec, 'iptables', '-w']
    await run(command, [...args, '-A', ...text.split(' ')])
    return async () => { await run(command, [...args, '-D', ...text.split(' ')]) }
  }

  /** Replaces the one address that others may know by another one, as a new DHCP lease does. */
  async move(address: string): Promise<void> {
    if (this.#address) await this.ip(`addr del ${this.#address}/24 dev eth0`)
    this.#address = address
    await this.ip(`addr add ${address}/24 dev eth0`)
  }
}

/**
 * A switch that hosts are plugged into, and a machine on the switch, so that servers on that machine see hosts come and go.
 */
export class Hub extends Host {
  static override async make(t: Pick<Assertions, 'teardown'>, address = '10.77.0.1'): Promise<Hub> {
    const hub = await Host.open(t, new Hub(newName()))
    await hub.ip('link add hub type bridge')
    await hub.ip(`addr add ${address}/24 dev hub`)
    await hub.ip('link set hub up')
    return hub
  }

  /** Adds a host with this address. */
  async host(t: Pick<Assertions, 'teardown'>, address: string): Promise<Host> {
    const host = await Host.make(t)
    const port = `port${++count}`
    await ip(`link add eth0 netns ${host.namespace} type veth peer name ${port} netns ${this.namespace}`)
    await this.ip(`link set ${port} master hub up`)
    await host.ip('link set eth0 up')
    await host.move(address)
    return host
  }
}

const container = ['--pid', '--fork', '--kill-child', '--mount-proc']

/** The reason why no containers can be made here; undefined if they can. */
export const noContainers: string | undefined = (() => {
  const { status, stderr, error } = spawnSync('unshare', [...container, 'true'], { encoding: 'utf8' })
  return status === 0 ? undefined : `pid namespaces are not allowed here: ${error?.message ?? stderr.trim()}`
})()

/**
 * Runs a process in its own pid namespace, which counts pids from 1 as in a container.
 * @param before  the number of pids that are given to other processes first
 */
export const inContainer = (before = 0): ForkOptions => {
  const script = `for i in $(seq ${before}); do /bin/true; done; "$@"; exit $?`
  return { execPath: 'unshare', execArgv: [...container, ...(before > 0 ? ['sh', '-c', script, 'sh'] : []), process.execPath] }
}
