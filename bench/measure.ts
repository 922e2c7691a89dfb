import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface Measured { callsPerSecond: number; cpuPerCall: number }

const program = fileURLToPath(new URL('./process.js', import.meta.url))
const message = <T>(child: ChildProcess): Promise<T> => new Promise((resolve, reject) => {
  child.once('message', (value) => resolve(value as T))
  child.once('exit', (code) => reject(new Error(`a bench process ended with ${code}`)))
})

/** One contender: a server and a client process, warmed up, then measured. */
export async function measure(name: string, { inFlight, seconds }: { inFlight: number; seconds: number }): Promise<Measured> {
  const server = fork(program, ['serve', name])
  let client: ChildProcess | undefined
  try {
    const { where } = await message<{ where: string }>(server)
    client = fork(program, ['call', name, where, String(inFlight), String(seconds)])
    await message(client)
    server.send('start')
    client.send('go')
    const result = await message<{ calls: number; seconds: number; cpu: number }>(client)
    server.send('stop')
    const { cpu } = await message<{ cpu: number }>(server)
    return { callsPerSecond: result.calls / result.seconds, cpuPerCall: (result.cpu + cpu) / result.calls }
  } finally {
    client?.kill('SIGKILL')
    server.kill('SIGKILL')
  }
}

export const median = (all: readonly number[]): number => [...all].sort((a, b) => a - b)[all.length >> 1]
