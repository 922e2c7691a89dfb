import { type ListenOptions, type Server, type Socket } from 'node:net'
import { onAbort } from '../../src/abort.js'

// Helpers shared by the interfaces that use the system's sockets.

export const ignore = (): void => {}

/** The original methods of a socket, below any overrides. */
export const proto = (socket: Socket): Socket => Object.getPrototypeOf(socket) as Socket

/**
 * Resolves when the server listens. `exclusive` is needed in a cluster worker: otherwise the primary would open the socket,
 * give all workers that ask for port 0 the same port, and distribute connections among them in turn.
 * @throws the system's error
 */
export function bound(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ ...options, exclusive: true }, () => {
      server.removeAllListeners('error')
      // out of descriptors, or a peer gone before it was accepted: the next connection may succeed
      server.on('error', ignore)
      resolve()
    })
  })
}

/** Dials. @param ready  the event after which the socket is of use @throws the socket's own error · the signal's reason */
export function dialled<S extends Socket>(open: () => S, signal: AbortSignal, ready = 'connect'): Promise<S> {
  const socket = open()
  return new Promise((resolve, reject) => {
    const settled = () => {
      release()
      socket.off(ready, onconnect)
      socket.off('error', onerror)
    }
    const onconnect = () => { settled(); resolve(socket) }
    const onerror = (error: Error) => { settled(); reject(error) }
    const release = onAbort(signal, () => {
      settled()
      socket.on('error', ignore)
      socket.destroy()
      reject(signal.reason as Error)
    })
    socket.once(ready, onconnect)
    socket.once('error', onerror)
  })
}

/** True when no data is left to lose: the writable side was ended, and only its end may still be on its way. */
export const ending = (socket: Socket): boolean => socket.writableEnded && socket.writableLength === 0

/** The error for a stream that broke off, in the form of the system's own. */
export const cutOff = (code = 'ECONNRESET', cause?: unknown): Error =>
  Object.assign(new Error(`read ${code}`, { cause }), { code, syscall: 'read' })
