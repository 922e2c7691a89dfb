/** The part of udx-native that the interface uses, which has no types of its own. */
import type { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import { StageError, asError } from '../src/errors.js'

export interface UdxFrom { host: string; port: number; family: 4 | 6 }

export interface UdxSocket extends EventEmitter {
  readonly idle: boolean
  bind(port: number, host: string): void
  address(): { host: string; port: number }
  trySend(bytes: Uint8Array, port: number, host: string): void
  close(): Promise<void>
}

/** A Duplex of streamx, which goes on receiving while nobody reads. */
export interface UdxStream extends Duplex {
  readonly mtu: number
  connect(socket: UdxSocket, remoteId: number, port: number, host: string): void
  /** One datagram; settles when the system has taken it, or the stream is closed. */
  send(bytes: Uint8Array): Promise<unknown>
}

export interface Udx {
  createSocket(): UdxSocket
  createStream(id: number): UdxStream
}

/** @throws StageError BAD_ARGUMENT the package is not installed, or does not run here */
export async function loadUdx(): Promise<Udx> {
  try {
    const UDX = (await import('udx-native')).default as new () => Udx
    return new UDX()
  } catch (thrown) {
    const why = `which cannot be loaded here (${asError(thrown).message}): npm install udx-native`
    throw new StageError('BAD_ARGUMENT', `the UDP interface needs the package udx-native, ${why}`, { cause: thrown })
  }
}
