import { connect, type ListenOptions, type NetConnectOpts, type Server, type Socket } from 'node:net'
import { onAbort } from '../src/abort.js'

// What the interfaces over the system's sockets share.

export const ignore = (): void => {}

/** The methods that a socket has before anything is put over them. */
export const proto = (socket: Socket): Socket => Object.getPrototypeOf(socket) as Socket

/**
 * Resolves when it listens. `exclusive`, as a worker of a cluster would else get its socket from the primary, which gives
 * all workers that ask for port 0 the same port, and each connection to one of them by turns.
 * @throws the system's error
 */
export function bound(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ ...options, exclusive: true }, () => {
      server.removeAllListeners('error')
      // out of descriptors, or a peer gone before it was accepted: the next one may do better
      server.on('error', ignore)
      resolve()
    })
  })
}

/** Dials. @param honest  makes the socket tell the truth about its end @throws the socket's own error · the signal's reason */
export function dialled(options: NetConnectOpts, honest: (socket: Socket) => Socket, signal: AbortSignal): Promise<Socket> {
  const socket = honest(connect(options))
  return new Promise((resolve, reject) => {
    const settled = () => {
      release()
      socket.off('connect', onconnect)
      socket.off('error', onerror)
    }
    const onconnect = () => { settled(); resolve(socket) }
    const onerror = (error: Error) => { settled(); reject(error) }
    const release = onAbort(signal, () => {
      settled()
      socket.destroy()
      reject(signal.reason as Error)
    })
    socket.once('connect', onconnect)
    socket.once('error', onerror)
  })
}

/** Nothing is left to lose: what was ended was sent, or is just being sent. */
export const ending = (socket: Socket): boolean => socket.writableEnded && socket.writableLength === 0

/** The error of an end that is none, as the system's own looks. */
export const cutOff = (code = 'ECONNRESET', cause?: unknown): Error =>
  Object.assign(new Error(`read ${code}`, { cause }), { code, syscall: 'read' })
