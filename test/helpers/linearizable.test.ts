import test, { type ExecutionContext } from 'ava'
import { checkCounter, checkRegister, register, search, type Operation } from './linearizable.js'

type Given = Partial<Operation> & Pick<Operation, 'kind'>

/** One that ran from `invoked` to `returned`. */
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

test('a counter: additions and reads that overlap, one of unknown outcome that took effect late and one that never did', (t) => {
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

test('a counter: a read that does not see what was acknowledged before it began', (t) => {
  says(t, checkCounter([during(0, 1, add('a', 1)), during(2, 3, seen(0, '')), list('a')]), /comes before it/)
  right(t, checkCounter([during(0, 2, add('a', 1)), during(2, 3, seen(0, '')), list('a')]))
})

test('a counter: reads that go back', (t) => {
  says(t, checkCounter([during(0, 9, add('a', 1)), during(1, 2, seen(1, 'a')), during(3, 4, seen(0, '')), list('a')]), /comes before it/)
})

test('a counter: an effect of one that did not run', (t) => {
  says(t, checkCounter([never(0, 1, add('a')), list('a')]), /did not run, and is number 1/)
})

test('a counter: a fork, by two additions with one number, by a read and by a list', (t) => {
  const fork = [during(0, 5, add('a', 1)), during(1, 6, add('b', 1))]
  says(t, checkCounter([...fork, list('a')]), /add\(b\) → 1 was acknowledged, and is lost; in its place is a/)
  says(t, checkCounter([...fork.slice(0, 1), unknown(1, add('b')), during(2, 3, seen(1, 'b')), list('a', 'b')]), /number 1 is a/)
  says(t, checkCounter([unknown(0, add('a')), unknown(1, add('b')), during(7, 8, { kind: 'list', result: ['b'] }), list('a', 'b')]), /a list had b as number 1/)
})

test('a counter: one of unknown outcome takes effect before it was asked for', (t) => {
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
  says(t, checkRegister([during(0, 1, write('a')), during(2, 3, write('b')), during(4, 5, read('a'))]), /read\(\) → "a" fits into no order; possible before it was b/)
})

test('a register: one of unknown outcome that takes effect twice', (t) => {
  says(t, checkRegister([unknown(0, write('a')), during(1, 2, read('a')), during(3, 4, write('b')), during(5, 6, read('a'))]), /fits into no order/)
})

test('a register: a stale read, and one that goes back within two writes that overlap', (t) => {
  says(t, checkRegister([during(0, 1, write('a')), during(2, 3, read(''))]), /fits into no order/)
  says(t, checkRegister([during(0, 9, write('a')), during(0, 9, write('b')), during(1, 2, read('a')), during(3, 4, read('b')), during(5, 6, read('a'))]), /fits into no order/)
})

test('a register: an effect of one that did not run, and a value out of nowhere', (t) => {
  says(t, checkRegister([never(0, 1, write('a')), during(2, 3, read('a'))]), /did not run/)
  says(t, checkRegister([during(2, 3, read('x'))]), /nobody wrote/)
})

test('a register: a fork, by two swaps that found the same', (t) => {
  says(t, checkRegister([during(0, 1, write('a')), during(2, 9, swap('b', 'a')), during(3, 9, swap('c', 'a'))]), /fits into no order/)
})

/** As a real register does, each taking effect at a moment of its own; some answers are lost. */
function history(seed: number, count: number): Operation[] {
  let state = seed
  const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
  const drawn = Array.from({ length: count }, (_, i) => {
    const invoked = i * 2 + random() * 10
    return { i, invoked, moment: invoked + random() * 10, returned: invoked + 10 + random() * 5, kind: ['write', 'swap', 'read'][Math.floor(random() * 3)]!, lost: random() < 0.05, ran: random() < 0.5 }
  })
  let value = ''
  const all: (Operation & { i: number })[] = []
  for (const { i, invoked, moment, returned, kind, lost, ran } of drawn.map((one) => one.lost ? { ...one, moment: one.moment + random() * 500 } : one).sort((a, b) => a.moment - b.moment)) {
    void moment
    const given = { i, kind, ...(kind === 'read' ? {} : { argument: `v${i}` }) }
    all.push(lost ? { ...given, invoked, returned: Infinity, outcome: 'unknown' } : { ...given, invoked, returned, outcome: 'ok', ...(kind === 'write' ? {} : { result: value }) })
    if (kind !== 'read' && (!lost || ran)) value = `v${i}`
  }
  return all
}

test('a register: long histories by chance are right, and wrong as soon as one read is from another time', (t) => {
  for (let seed = 1; seed <= 5; seed++) {
    const operations = history(seed, 1000)
    right(t, checkRegister(operations))
    const reads = operations.filter(({ kind, outcome }) => kind === 'read' && outcome === 'ok')
    const [one, other] = [reads[100]!, reads[250]!]
    const swapped = operations.map((each) => each === one ? { ...each, result: other.result } : each)
    t.true(checkRegister(swapped).length > 0, `seed ${seed}`)
  }
})

test('the search says so when it cannot decide', (t) => {
  const many = Array.from({ length: 40 }, (_, i) => during(0, 100, write(`${i}`)))
  t.regex(search([...many, during(0, 90, read('none'))], register) ?? '', /could not be decided/)
})
