import type { Clock, Peer, Stage, StageError } from '../../src/index.js'
import { Raw, tcpMesh, u32 } from './raw-peer.js'
import { until } from './until.js'

export const CALL = 1, RESULT = 4, ERROR = 5, CANCEL = 6, RELEASE = 7, METHODS = 8
export const OPEN = 10, DATA = 11, END = 12, RESET = 13, PART = 15, ENDED = 16, START = 17, READ = 18
export const MIB = 1024 * 1024

/**
 * A stage, a raw peer that dialled it, a second stage that wants to be served meanwhile, and the ends of mallory's links.
 */
export async function scene<C extends Clock>(t: Parameters<typeof tcpMesh>[0], clock?: C) {
  const mesh = tcpMesh(t, clock)
  const api = await mesh.stage('api')
  const web = await mesh.stage('web')
  api.to('*').provide('greet', () => 'hi')
  const ends: (StageError | undefined)[] = []
  api.on('unlink', (peer: Peer, error) => { if (peer.name === 'mallory') ends.push(error) })
  const raw = await Raw.join(t, api.address)
  await until(() => raw.got(METHODS).length === 1)
  mesh.list({ id: raw.id, addresses: [] })
  await until(() => api.lookup('mallory').length === 1)
  return { mesh, api, web, raw, ends }
}

export const served = async (web: Stage): Promise<boolean> => await web.to('api').call('greet') === 'hi'
/** Frames of many messages in one chunk. */
export const frames = (payloads: Buffer[]): Buffer => Buffer.concat(payloads.flatMap((one) => [Buffer.from([0, one.length >> 16, (one.length >> 8) & 255, one.length & 255]), one]))
export const call = (id: number, method: string): Buffer => Buffer.concat([Buffer.from([CALL]), u32(id), u32(5000), Buffer.from([0, method.length]), Buffer.from(method), Buffer.from([0x90])])

