/** Tests the checker of histories on correct and incorrect histories. */
import test, { type ExecutionContext } from 'ava'
import { checkCounter, checkRegister, type Operation } from './linearizable.js'
import { register, search } from './search.js'

type Given = Partial<Operation> & Pick<Operation, 'kind'>

/** An operation that ran from `invoked` to `returned`. */
const during = (invoked: number, returned: number, given: Given): Operation => ({ invoked, returned, outcome: 'ok', ...given })
const unknown = (invoked: number, given: Given): Operation => ({ invoked, returned: Infinity, outcome: 'unknown', ...given })
const never = (invoked: number, returned: number, given: Given): Operation => ({ invoked, returned, outcome: 'no', ...given })

const add = (argument: string, result?: number): Given => ({ kind: 'add', argument, result })
const seen = (value: number, last?: string): Given => ({ kind: 'read', result: { value, ...(last === undefined ? {} : { last }) } })
const list = (...result: string[]): Operation => during(1000, 1001, { kind: 'list', result })
const write = (argument: string): Given => ({ kind: 'write', argument })
const swap = (argument: string, result?: string): Given => ({ kind: 'swap', argument, result })
const read = (result: string): Given => ({ kind: 'read', result })

const right = (t: ExecutionContext, wrong: readonly string[]) => t.deepEqual(wrong, [])
const says = (t: ExecutionContext, wrong: readonly string[], what: RegExp) => {
  t.true(wrong.length > 0, 'nothing was found')
  t.regex(wrong.join('\n'), what)
}

test('a counter: additions and reads that overlap, one addition of unknown outcome that took effect late and one that never did', (t) => {
  right(t, checkCounter([
    during(0, 10, add('a', 1)), during(5, 20, add('b', 2)), during(8, 9, seen(0, '')), during(9, 15, seen(2, 'b')),
    unknown(1, add('late')), unknown(2, add('lost')), never(3, 4, add('refused')),
    during(30, 40, add('c', 3)), during(50, 60, seen(4, 'late')), during(55, 58, seen(3)), list('a', 'b', 'c', 'late'),
  ]))
})

test('a counter: an acknowledged addition that is lost', (t) => {
  says(t, checkCounter([during(0, 1, add('a', 1)), during(2, 3, add('b', 2)), list('a')]), /add\(b\) → 2 was acknowledged, and is lost/)
})

test('a counter: an addition that is applied twice', (t) => {
  says(t, checkCounter([during(0, 1, add('a', 1)), unknown(2, add('b')), list('a', 'b', 'b')]), /b was applied twice/)
})

test('a counter: a read that does not see an addition acknowledged before it began', (t) => {
  says(t, checkCounter([during(0, 1, add('a', 1)), during(2, 3, seen(0, '')), list('a')]), /comes before it/)
  right(t, checkCounter([during(0, 2, add('a', 1)), during(2, 3, seen(0, '')), list('a')]))
})

test('a counter: reads that go back in time', (t) => {
  says(t, checkCounter([during(0, 9, add('a', 1)), during(1, 2, seen(1, 'a')), during(3, 4, seen(0, '')), list('a')]), /comes before it/)
})

test('a counter: an effect of an addition that did not run', (t) => {
  says(t, checkCounter([never(0, 1, add('a')), list('a')]), /did not run, and is number 1/)
})

test('a counter: a fork, by two additions with one number, by a read and by a list', (t) => {
  const fork = [during(0, 5, add('a', 1)), during(1, 6, add('b', 1))]
  says(t, checkCounter([...fork, list('a')]), /add\(b\) → 1 was acknowledged, and is lost; in its place is a/)
  says(t, checkCounter([...fork.slice(0, 1), unknown(1, add('b')), during(2, 3, seen(1, 'b')), list('a', 'b')]), /number 1 is a/)
  says(t, checkCounter([unknown(0, add('a')), unknown(1, add('b')), during(7, 8, { kind: 'list', result: ['b'] }), list('a', 'b')]), /a list had b as number 1/)
})

test('a counter: an addition of unknown outcome takes effect before it was requested', (t) => {
  says(t, checkCounter([during(0, 1, add('a', 2)), unknown(5, add('b')), list('b', 'a')]), /comes before it/)
})

test('a register: writes, swaps and reads that overlap, with unknown outcomes', (t) => {
  right(t, checkRegister([
    during(0, 10, write('a')), during(1, 11, write('b')), during(2, 3, read('')), during(4, 5, read('b')), during(6, 20, read('a')),
    unknown(1, write('late')), unknown(2, write('lost')), never(3, 4, write('refused')),
    during(30, 31, swap('c', 'a')), during(40, 41, read('c')), during(50, 60, read('late')), during(51, 52, read('late')), during(70, 71, swap('d', 'late')),
  ]))
})

test('a register: an acknowledged write that is lost', (t) => {
  says(t, checkRegister([during(0, 1, write('a')), during(2, 3, write('b')), during(4, 5, read('a'))]), /read\(\) → "a" began after write\(b\) had ended/)
})

test('a register: a write of unknown outcome that takes effect twice', (t) => {
  says(t, checkRegister([unknown(0, write('a')), during(1, 2, read('a')), during(3, 4, write('b')), during(5, 6, read('a'))]), /neither can come first/)
})

test('a register: a stale read, and a read that goes back within two writes that overlap', (t) => {
  says(t, checkRegister([during(0, 1, write('a')), during(2, 3, read(''))]), /neither can come first/)
  says(t, checkRegister([during(0, 9, write('a')), during(0, 9, write('b')), during(1, 2, read('a')), during(3, 4, read('b')), during(5, 6, read('a'))]), /neither can come first/)
})

test('a register: an effect of a write that did not run, and a value that was never written', (t) => {
  says(t, checkRegister([never(0, 1, write('a')), during(2, 3, read('a'))]), /did not run/)
  says(t, checkRegister([during(2, 3, read('x'))]), /nobody wrote/)
})

test('a register: a fork, by two swaps that found the same value', (t) => {
  says(t, checkRegister([during(0, 1, write('a')), during(2, 9, swap('b', 'a')), during(3, 9, swap('c', 'a'))]), /found what swap\(b\) → "a" had found/)
  says(t, checkRegister([during(0, 9, swap('a', 'b')), during(0, 9, swap('b', 'a'))]), /in a circle/)
  says(t, checkRegister([during(0, 1, write('a')), during(5, 6, swap('b', 'a')), during(2, 3, read('b'))]), /comes before it/)
})

/** Numbers from 0 to 1 from a seed. */
function chance(seed: number): () => number {
  let state = seed
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
}

/**
 * A history as a real register produces it, in which each operation takes effect at its own moment and some answers are
 * lost.
 */
function history(random: () => number, count: number): Operation[] {
  const drawn = Array.from({ length: count }, (_, i) => {
    const invoked = i * 2 + random() * 10
    const lost = random() < 0.1
    return { i, invoked, moment: invoked + random() * (lost ? 100 : 10), returned: invoked + 10 + random() * 5, kind: ['write', 'swap', 'read'][Math.floor(random() * 3)]!, lost, ran: random() < 0.5 }
  })
  let value = ''
  return drawn.sort((a, b) => a.moment - b.moment).map(({ i, invoked, returned, kind, lost, ran }): Operation => {
    const given = { kind, invoked, ...(kind === 'read' ? {} : { argument: `v${i}` }) }
    const before = value
    if (kind !== 'read' && (!lost || ran)) value = `v${i}`
    return lost ? { ...given, returned: Infinity, outcome: 'unknown' } : { ...given, returned, outcome: 'ok', ...(kind === 'write' ? {} : { result: before }) }
  })
}

/** The same history with one answer replaced by that of another operation. */
function spoilt(random: () => number, operations: readonly Operation[]): Operation[] {
  const answers = operations.filter(({ result }) => result !== undefined)
  const [one, other] = [0, 1].map(() => answers[Math.floor(random() * answers.length)])
  return operations.map((each) => each === one ? { ...each, result: other!.result } : each)
}

test('a register: long random histories are right, and wrong as soon as one read is from another time', (t) => {
  for (let seed = 1; seed <= 5; seed++) {
    const operations = history(chance(seed), 3000)
    right(t, checkRegister(operations))
    const reads = operations.filter(({ kind, outcome }) => kind === 'read' && outcome === 'ok')
    const [one, other] = [reads[100]!, reads[600]!]
    t.true(checkRegister(operations.map((each) => each === one ? { ...each, result: other.result } : each)).length > 0, `seed ${seed}`)
  }
})

test('a register: a search through all orders comes to the same verdict', (t) => {
  const random = chance(1)
  const found = { right: 0, wrong: 0 }
  for (let i = 0; i < 3000; i++) {
    const whole = history(random, 4 + Math.floor(random() * 8))
    const operations = i % 3 === 0 ? whole : spoilt(random, whole)
    const wrong = checkRegister(operations)
    const searched = search(operations.filter(({ outcome }) => outcome !== 'no'), register)
    t.is(wrong.length > 0, searched !== undefined, `${JSON.stringify(operations)}\n${wrong.join('\n')}\n${searched}`)
    found[wrong.length > 0 ? 'wrong' : 'right']++
  }
  t.true(Math.min(found.right, found.wrong) > 500, JSON.stringify(found))
})

test('the search says so when it cannot decide', (t) => {
  const many = Array.from({ length: 40 }, (_, i) => during(0, 100, write(`${i}`)))
  t.regex(search([...many, during(0, 90, read('none'))], register) ?? '', /could not be decided/)
})
