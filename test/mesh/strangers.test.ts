/** Who makes room among connections that have proven nothing yet. */
import test from 'ava'
import { LISTED, NAMED, PROVEN, SILENT, Strangers, place, surplus } from '../../src/strangers.js'
import { VirtualClock } from '../helpers/virtual-clock.js'

// Who of those that connected makes room for others.

/** `a0` is the first that came from a and said nothing, `b2` one from b that is listed. */
const from = (text: string) => text.split(' ').map((one, index) => ({ from: one[0], rank: Number(one[1]), name: `${one[0]}${index}` }))

const cases: [title: string, all: string, count: number, out: string][] = [
  ['nobody where there is room', 'a0 b0', 0, ''],
  ['of one place the first', 'a0 a0 a0', 1, 'a0'],
  ['one who came from elsewhere stays', 'b0 a0 a0 a0', 2, 'a1 a2'],
  ['where all come from elsewhere the first', 'a0 b0 c0', 2, 'a0 b1'],
  ['of two places with as many each in turn', 'a0 a0 b0 b0', 2, 'a0 b2'],
  ['those that said nothing before those that said something', 'a1 b0 c2', 2, 'b1 a0'],
  ['the unlisted before the listed', 'a2 b1 c3', 2, 'b1 a0'],
  ['many of a high rank before few of a low one from the same place', 'a2 a2 a2 a0', 2, 'a0 a1'],
  ['no more than there are', 'a0 b0', 5, 'a0 b1'],
]

test('who makes room', (t) => {
  for (const [title, all, count, out] of cases) t.is(surplus(from(all), count).map(({ name }) => name).join(' '), out, title)
})

const places: [address: string | undefined, place: string][] = [
  [undefined, ''],
  ['10.0.0.5', '10.0.0.5'],
  ['::ffff:10.0.0.5', '10.0.0.5'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8:1:2::7', '2001:db8:1:2'],
  ['2001:db8::7', '2001:db8:0:0'],
  ['2001:db8::2:3:4:5:6', '2001:db8:0:2'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
  ['::1', '0:0:0:0'],
  ['::', '0:0:0:0'],
  ['not an address', 'not an address'],
]

test('where an address counts', (t) => {
  for (const [address, expected] of places) t.is(place(address), expected, address)
})

/** Who was cut off, by name, of those that came in. */
function scene() {
  const clock = new VirtualClock()
  const strangers = new Strangers(clock)
  const cut: string[] = []
  return {
    clock, strangers, cut,
    enter: (from: string, count = 1) => Array.from({ length: count }, (_, i) => strangers.enter(from, () => { cut.push(`${from}${i}`) })),
    turns: async (count: number) => { for (let i = 0; i < count; i++) await clock.advance(0) },
  }
}

test('64 that say nothing stay; what is above that makes room for new ones, once what it sent was read', async (t) => {
  const { enter, cut, turns, clock } = scene()
  enter('a', 64)
  await turns(1)
  t.deepEqual([cut, clock.pending], [[], 0], 'nobody is looked at without need')
  enter('b', 6)
  t.deepEqual(cut, [], 'nobody goes who may have said something that is not read yet')
  await turns(1)
  t.deepEqual(cut, ['a0', 'a1', 'a2', 'a3', 'a4', 'a5'])
  t.is(clock.pending, 0)
})

test('those that have said HELLO have room of their own: neither pushes the others out', async (t) => {
  const { enter, strangers, cut, turns } = scene()
  for (const one of enter('a', 64)) strangers.rise(one, NAMED)
  enter('a', 70)
  await turns(3)
  t.is(cut.length, 6)
  const late = enter('a', 64).slice(0, 3)
  for (const one of late) strangers.rise(one, LISTED)
  for (const one of late) strangers.rise(one, PROVEN)
  await turns(3)
  t.is(cut.length, 6 + 61 + 3)
})

test('a burst is bounded', (t) => {
  const { enter, cut } = scene()
  enter('a', 300)
  t.is(cut.length, 300 - 256)
})

test('one that has left counts no more, and one that was cut off does not rise', async (t) => {
  const { enter, strangers, cut, turns, clock } = scene()
  const first = enter('a', 40)
  for (const one of first) strangers.leave(one)
  for (const one of first) strangers.rise(one, SILENT + 1)
  enter('a', 64)
  await turns(3)
  t.deepEqual(cut, [])
  enter('a', 1)
  strangers.close()
  t.is(clock.pending, 0)
})

test('one that just came is kept for two turns of the loop: what it sent is read in the second one', (t) => {
  const due: (() => void)[] = []
  const clock = { now: () => 0, wall: () => 0, setTimeout: (fn: () => void) => { due.push(fn); return { cancel: () => {} } } }
  const strangers = new Strangers(clock)
  let cut = 0
  const all = Array.from({ length: 70 }, () => strangers.enter('a', () => { cut++ }))
  due.shift()!()
  t.is(cut, 0)
  strangers.rise(all[0], NAMED)
  due.shift()!()
  t.is(cut, 5)
  t.is(due.length, 0)
})
