/** The handshake, and what somebody in the middle can make of it. */
import test from 'ava'
import type { Duplex } from 'node:stream'
import { StageError } from '../../src/errors.js'
import { handshake, type Greeting, type HandshakeOptions, type Verdict } from '../../src/handshake.js'
import { pair } from '../../src/pair.js'
import { systemRandom } from '../../src/random.js'
import { packet } from '../helpers/raw-peer.js'
import { VirtualClock, settle } from '../helpers/virtual-clock.js'

// Two ends of a handshake, and somebody between them who can change, add and leave out words of either.

const SECRET = 'correct horse battery staple'
const [LOW, HIGH] = ['aaaaaaaa-low', 'zzzzzzzz-high']

type Said = Record<string, unknown>
type Change = (said: Said) => Said

interface End {
  greeting?: Greeting
  error?: StageError
  /** That its id is gone. */
  told: number
}

interface Scene {
  secret?: string
  /** The dialler has the greater id, so it is the arbiter. */
  dialler?: boolean
  /** Both have wrappers of their own, so that BUILT is said. */
  own?: boolean
  verdict?: Verdict
  isGone?: (by: 'dialler' | 'listener') => boolean
  build?: (by: 'dialler' | 'listener') => void
  /** The listener, once both are proven. */
  refuses?: boolean
  fromDialler?: Change
  fromListener?: Change
}

/** Hands on what one says, in the words of `change`. */
function between(from: Duplex, to: Duplex, change: Change): void {
  let held = Buffer.alloc(0)
  from.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    while (held.length >= 8 && held.length >= 8 + held.readUInt32BE(4)) {
      const end = 8 + held.readUInt32BE(4)
      to.write(packet(change(JSON.parse(held.toString('utf8', 8, end)) as Said)))
      held = held.subarray(end)
    }
  })
  from.on('end', () => to.end())
  from.on('error', () => to.destroy())
}

async function run({ secret, dialler = false, own = false, verdict = { ready: 7 }, isGone, build = () => {}, refuses = false, fromDialler = same, fromListener = same }: Scene): Promise<{ dialler: End; listener: End }> {
  const clock = new VirtualClock()
  const [a, nearA] = pair()
  const [b, nearB] = pair()
  for (const one of [a, b, nearA, nearB]) one.on('error', () => {})
  between(nearA, nearB, fromDialler)
  between(nearB, nearA, fromListener)
  const ends: { dialler: End; listener: End } = { dialler: { told: 0 }, listener: { told: 0 } }
  const begin = (who: 'dialler' | 'listener', stream: Duplex): void => {
    const end = ends[who]
    const options: HandshakeOptions = {
      stream, clock, secret, own, random: systemRandom, namespace: 'default', chain: ['x'], dialled: who === 'dialler',
      self: { id: (who === 'dialler') === dialler ? HIGH : LOW, name: who, addresses: [] },
      isGone: () => isGone?.(who) ?? false,
      ongone: () => { end.told++ },
      onproven: () => { if (refuses && who === 'listener') throw new StageError('WRONG_PEER', 'not that one') },
      decide: () => verdict,
      ...(own ? { build: () => build(who) } : {}),
    }
    handshake(options).then((greeting) => { end.greeting = greeting }, (error: unknown) => { end.error = error as StageError })
  }
  begin('listener', b)
  begin('dialler', a)
  await settle(8)
  await clock.advance(8000)
  return ends
}

const same: Change = (said) => said
/** Changes a message that has that field. */
const where = (field: string, change: (said: Said) => Said): Change => (said) => field in said ? change(said) : said
const proof = (change: (said: Said) => Said): Change => where('proof', (said) => Object.keys(said).length <= 2 && !('built' in said) ? change(said) : said)

const good: [title: string, scene: Scene][] = [
  ['the listener decides', {}],
  ['the dialler decides', { dialler: true }],
  ['a duplicate', { verdict: { duplicate: 'another-link' } }],
  ['a duplicate, of the dialler', { dialler: true, verdict: { duplicate: 'another-link' } }],
  ['chains of their own', { own: true }],
  ['chains of their own, the dialler decides', { own: true, dialler: true }],
]

test('nobody changes anything: both ends agree, with a secret and without', async (t) => {
  for (const secret of [undefined, SECRET]) {
    for (const [title, scene] of good) {
      const { dialler, listener } = await run({ ...scene, secret })
      const verdict = scene.verdict ?? { ready: 7 }
      t.deepEqual([dialler.error, listener.error], [undefined, undefined], title)
      t.deepEqual([dialler.greeting?.verdict, listener.greeting?.verdict], [verdict, verdict], title)
    }
  }
})

const changes: [title: string, scene: Scene, victim: 'dialler' | 'listener'][] = [
  ['the dialler says gone', { fromDialler: proof((said) => ({ ...said, gone: true })) }, 'listener'],
  ['the listener says gone', { fromListener: proof((said) => ({ ...said, gone: true })) }, 'dialler'],
  ['the listener says gone, beside no verdict', { dialler: true, fromListener: proof((said) => ({ ...said, gone: true })) }, 'dialler'],
  ['gone is left out', { isGone: (by) => by === 'dialler', fromDialler: proof(({ proof }) => ({ proof })) }, 'listener'],
  ['gone is left out, of the listener', { isGone: (by) => by === 'listener', fromListener: proof(({ proof }) => ({ proof })) }, 'dialler'],
  ['another number', { fromListener: where('verdict', (said) => ({ ...said, verdict: { ready: 1e9 } })) }, 'dialler'],
  ['another number, of the dialler', { dialler: true, fromDialler: where('verdict', (said) => ({ ...said, verdict: { ready: 1e9 } })) }, 'listener'],
  ['a duplicate that is none', { fromListener: where('verdict', (said) => ({ ...said, verdict: { duplicate: 'x' } })) }, 'dialler'],
  ['a duplicate that is none, of the dialler', { dialler: true, fromDialler: where('verdict', (said) => ({ ...said, verdict: { duplicate: 'x' } })) }, 'listener'],
  ['the duplicate of another link', { verdict: { duplicate: 'another-link' }, fromListener: where('verdict', (said) => ({ ...said, verdict: { duplicate: 'x' } })) }, 'dialler'],
  ['a verdict in place of none', { dialler: true, fromListener: proof((said) => ({ ...said, verdict: { ready: 1 } })) }, 'dialler'],
  ['a verdict without a proof', { dialler: true, fromDialler: where('verdict', ({ verdict }) => ({ verdict })) }, 'listener'],
  ['the proof of another word', { dialler: true, fromDialler: replayed('verdict') }, 'listener'],
  ['a field that nobody knows', { fromDialler: proof((said) => ({ ...said, later: 1 })) }, 'listener'],
  ['that the chain stands, where it does not', { own: true, build: (by) => { if (by === 'dialler') throw new StageError('BAD_ARGUMENT', 'no') }, fromDialler: where('error', () => ({ built: true })) }, 'listener'],
  ['that the chain failed', { own: true, fromDialler: where('built', () => ({ error: { code: 'CHAIN_MISMATCH', message: 'no' } })) }, 'listener'],
  ['that the chain failed, of the listener', { own: true, fromListener: where('built', () => ({ error: { code: 'CHAIN_MISMATCH', message: 'no' } })) }, 'dialler'],
  ['that one end has no wrappers of its own', { own: true, fromListener: where('nonce', (said) => ({ ...said, own: false })) }, 'dialler'],
  ['that one end does not know of wrappers of its own', { own: true, fromDialler: where('nonce', (said) => ({ ...said, own: undefined })) }, 'listener'],
  ['another reason why it is refused', { refuses: true, fromListener: where('error', (said) => ({ ...said, error: { code: 'CHAIN_MISMATCH', message: 'no' } })) }, 'dialler'],
  ['that it is refused, where it is not', { fromListener: where('verdict', ({ proof }) => ({ proof, error: { code: 'WRONG_PEER', message: 'no' } })) }, 'dialler'],
]

/** Gives the message with that field the proof of the one before. */
function replayed(field: string): Change {
  let before: unknown
  return (said) => {
    const changed = field in said ? { ...said, proof: before } : said
    before = said['proof']
    return changed
  }
}

for (const [title, scene, victim] of changes) {
  test(`with a secret, somebody between them makes of it: ${title}`, async (t) => {
    const ends = await run({ ...scene, secret: SECRET })
    const { greeting, error, told } = ends[victim]
    t.is(greeting, undefined)
    t.is(error?.code, 'AUTH_FAILED')
    t.is(told, 0, 'nobody is told that its id is gone')
  })
}

test('what one end says is believed when nobody has changed it: that an id is gone, and why there is no link', async (t) => {
  for (const secret of [undefined, SECRET]) {
    const gone = await run({ secret, isGone: (by) => by === 'dialler' })
    t.is(gone.listener.told, 1)
    t.is(gone.listener.error?.code, 'WRONG_PEER')
    const back = await run({ secret, isGone: (by) => by === 'listener' })
    t.is(back.dialler.told, 1)
    t.is((await run({ secret, refuses: true })).dialler.error?.code, 'WRONG_PEER')
    const failed = await run({ secret, own: true, build: () => { throw new StageError('BAD_ARGUMENT', 'no') } })
    t.deepEqual([failed.dialler.greeting?.failure?.code, failed.listener.greeting?.failure?.code], ['BAD_ARGUMENT', 'BAD_ARGUMENT'])
  }
})

test('different secrets: both ends say so, whichever hears it first', async (t) => {
  const { dialler, listener } = await run({ secret: SECRET, fromDialler: where('proof', (said) => ({ ...said, proof: 'x'.repeat(43) })) })
  t.is(listener.error?.code, 'AUTH_FAILED')
  t.is(dialler.error?.code, 'AUTH_FAILED')
})
