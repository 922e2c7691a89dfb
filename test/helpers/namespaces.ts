import { execFile, spawnSync, type ForkOptions } from 'node:child_process'
import { promisify } from 'node:util'
import type { Assertions } from '../suites/test.js'

const run = promisify(execFile)
let count = 0
const newName = (): string => `stagemesh-${process.pid}-${++count}`

/** `ip` with these arguments, separated by blanks. */
const ip = (args: string): Promise<unknown> => run('ip', args.split(' '))

/** Why no hosts can be made here; undefined if they can. */
export const noNamespaces: string | undefined = (() => {
  if (process.platform !== 'linux') return 'network namespaces are Linux only'
  if (process.getuid?.() !== 0) return 'network namespaces need root: run these tests as root'
  if (spawnSync('ip', ['-V']).status !== 0) return 'ip is not installed: install the package iproute2 to run these tests'
  const probe = newName()
  const { status, stderr } = spawnSync('ip', ['netns', 'add', probe], { encoding: 'utf8' })
  spawnSync('ip', ['netns', 'del', probe])
  return status === 0 ? undefined : `network namespaces are not allowed here: ${stderr.trim()}`
})()

/** A machine's network as a namespace: nothing in it but loopback, until it is plugged in somewhere. */
export class Host {
  #address: string | undefined

  protected constructor(readonly namespace: string) {}

  static async make(t: Pick<Assertions, 'teardown'>): Promise<Host> {
    return Host.open(t, new Host(newName()))
  }

  protected static async open<H extends Host>(t: Pick<Assertions, 'teardown'>, host: H): Promise<H> {
    const { namespace } = host
    t.teardown(async () => { await ip(`netns del ${namespace}`) }) // and with it its ends of all cables
    await ip(`netns add ${namespace}`)
    await host.ip('link set lo up')
    return host
  }

  ip(args: string): Promise<unknown> {
    return ip(`-n ${this.namespace} ${args}`)
  }

  /** How to run a command in it: put in front. */
  get exec(): string[] {
    return ['ip', 'netns', 'exec', this.namespace]
  }

  /** For a process of stages in it. */
  get fork(): ForkOptions {
    const [command = '', ...args] = this.exec
    return { execPath: command, execArgv: [...args, process.execPath] }
  }

  /** Takes the one address that others may know away, and another one instead, as a new DHCP lease does. */
  async move(address: string): Promise<void> {
    if (this.#address) await this.ip(`addr del ${this.#address}/24 dev eth0`)
    this.#address = address
    await this.ip(`addr add ${address}/24 dev eth0`)
  }
}

/** A switch that hosts are plugged into, and a machine on it, so that servers on it see hosts come and go. */
export class Hub extends Host {
  static override async make(t: Pick<Assertions, 'teardown'>, address = '10.77.0.1'): Promise<Hub> {
    const hub = await Host.open(t, new Hub(newName()))
    await hub.ip('link add hub type bridge')
    await hub.ip(`addr add ${address}/24 dev hub`)
    await hub.ip('link set hub up')
    return hub
  }

  /** A host with this address. */
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

/** Why no containers can be made here; undefined if they can. */
export const noContainers: string | undefined = (() => {
  const { status, stderr, error } = spawnSync('unshare', [...container, 'true'], { encoding: 'utf8' })
  return status === 0 ? undefined : `pid namespaces are not allowed here: ${error?.message ?? stderr.trim()}`
})()

/**
 * For a process that counts pids from 1, as in a container of its own.
 * @param before  so many pids are given to others first
 */
export const inContainer = (before = 0): ForkOptions => {
  const script = `for i in $(seq ${before}); do /bin/true; done; "$@"; exit $?`
  return { execPath: 'unshare', execArgv: [...container, ...(before > 0 ? ['sh', '-c', script, 'sh'] : []), process.execPath] }
}
