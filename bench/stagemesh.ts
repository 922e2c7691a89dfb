import { LocalRegistry, Stage, TcpInterface } from '../src/index.js'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SMALL, type Contender } from './contender.js'

/** The default chain with its default options, over TCP like the bare sockets beside it. */
export const stagemesh: Contender = {
  async serve() {
    const place = mkdtempSync(join(tmpdir(), 'stagemesh-bench-'))
    const stage = new Stage('echo', new LocalRegistry(place), new TcpInterface())
    stage.to('*').provide('echo', (value) => value)
    await stage.ready()
    return place
  },
  async connect(place) {
    const stage = new Stage('caller', new LocalRegistry(place), new TcpInterface())
    await stage.ready()
    return () => stage.to('echo').call('echo', SMALL)
  },
}

/** The same as a call of an actor. */
export const actor: Contender = {
  async serve() {
    const place = mkdtempSync(join(tmpdir(), 'stagemesh-bench-'))
    const stage = new Stage('echo', new LocalRegistry(place), new TcpInterface())
    stage.define({ pattern: 'echo', create: () => ({ echo: (value: unknown) => value }) })
    await stage.ready()
    return place
  },
  async connect(place) {
    const stage = new Stage('caller', new LocalRegistry(place), new TcpInterface())
    await stage.ready()
    const echo = stage.actor<{ echo(value: unknown): unknown }>('echo')
    return () => echo.echo(SMALL)
  },
}
