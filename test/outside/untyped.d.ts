// Packages without types: the declarations that are used here.

declare module 'dnode' {
  import type { Duplex } from 'node:stream'
  export default function dnode(api: object, options: { weak: boolean }): Duplex
}
declare module 'framed-stream' {
  import type { Duplex } from 'node:stream'
  export default class FramedStream {
    constructor(stream: Duplex)
  }
}
declare module 'protomux-rpc' {
  import type { EventEmitter } from 'node:events'
  export default class ProtomuxRPC extends EventEmitter {
    constructor(stream: object)
    respond(method: string, handler: (value: Buffer) => Buffer): void
    request(method: string, value: Buffer): Promise<Buffer>
  }
}
declare module 'muxrpc' {
  export default function muxrpc(remote: object | null, local: object | null, api?: object): { stream: object } & Record<string, (...args: unknown[]) => object>
}
declare module 'pull-stream' {
  interface Pull {
    (...streams: unknown[]): void
    values(all: readonly unknown[]): object
    collect(done: (error: unknown, all: unknown) => void): object
  }
  const pull: Pull
  export default pull
}
declare module 'stream-to-pull-stream' {
  import type { Duplex } from 'node:stream'
  const toPull: { duplex(stream: Duplex): object }
  export default toPull
}
declare module 'rpc-stream' {
  import type { Duplex } from 'node:stream'
  export default function rpcStream(api?: object): Duplex & { wrap(methods: readonly string[]): Record<string, (...args: unknown[]) => void> }
}
declare module 'streamx' {
  export { Readable, Writable, Transform, Duplex, PassThrough } from 'node:stream'
  export { pipeline } from 'node:stream'
  export function pipelinePromise(...streams: unknown[]): Promise<void>
}
declare module 'readable-stream-2' {
  export { Readable, Writable, Transform, Duplex, PassThrough } from 'node:stream'
}
declare module 'readable-stream-3' {
  export { Readable, Writable, Transform, Duplex, PassThrough, pipeline, finished } from 'node:stream'
}
declare module 'readable-stream-4' {
  export { Readable, Writable, Transform, Duplex, PassThrough, pipeline, finished } from 'node:stream'
}
declare module 'ssh2' {
  import type { EventEmitter } from 'node:events'
  import type { Duplex } from 'node:stream'

  export interface Channel extends Duplex {
    readonly stderr: Duplex
    exit(code: number): void
  }
  export class Client extends EventEmitter {
    connect(options: { sock: Duplex; username: string; password?: string; privateKey?: string; readyTimeout?: number; hostVerifier?: (key: Buffer) => boolean }): this
    exec(command: string, done: (error: Error | undefined, channel: Channel) => void): void
    sftp(done: (error: Error | undefined, sftp: Sftp) => void): void
    forwardOut(fromHost: string, fromPort: number, toHost: string, toPort: number, done: (error: Error | undefined, channel: Channel) => void): void
    end(): void
    destroy(): void
  }
  export class Server extends EventEmitter {
    constructor(options: { hostKeys: readonly string[] }, onconnection: (client: Connection) => void)
    injectSocket(stream: Duplex): void
  }
  export interface Connection extends EventEmitter {
    end(): void
  }
  export interface Sftp extends EventEmitter {
    readFile(path: string, done: (error: Error | undefined, data: Buffer) => void): void
    end(): void
  }
  const ssh2: { Client: typeof Client; Server: typeof Server }
  export default ssh2
}
