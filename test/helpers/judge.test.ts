/** Tests the judge of watchers' histories on correct and incorrect histories. */
import test from 'ava'
import { judge } from '../stress/judge.js'
import type { Noted } from '../stress/caller.js'
import type { Sighting } from '../stress/watcher.js'

const ADDRESS = 'counters.1'
const IDS = ['a', 'b', 'c']
const add = (argument: string, outcome: 'ok' | 'no', n: number): Noted => ({ address: ADDRESS, kind: 'add', argument, outcome, invoked: 10 * n, returned: 10 * n + 5, result: outcome === 'ok' ? n : undefined })
const operations: Noted[] = [...IDS.map((id, i) => add(id, 'ok', i + 1)), add('d', 'no', 4),
  { address: ADDRESS, kind: 'list', outcome: 'ok', invoked: 1000, returned: 1001, result: IDS }]

/** The verdict on what watchers saw of a counter to which a, b and c were added, while the addition of d did not run. */
const judged = (...sightings: Partial<Sighting>[]): string => judge(operations, sightings.map((one) => ({ address: ADDRESS, mode: 'every', seen: [], wrong: [], ...one })), { [ADDRESS]: IDS }).join('\n')

test('watchers: complete, from the middle, with skipped values, and after a reset', (t) => {
  t.is(judged({ seen: [[0, '', false], [1, 'a', false], [2, 'b', false], [3, 'c', false]] }), '')
  t.is(judged({ seen: [[2, 'b', false], [3, 'c', false]] }, { mode: 'latest', seen: [[0, '', false], [3, 'c', false]] }), '')
  t.is(judged({ seen: [[1, 'a', false], [3, 'c', true]] }), '')
})

test('watchers: each way to see a value that did not exist, or to miss one that did', (t) => {
  t.regex(judged({ seen: [[1, 'a', false], [3, 'c', false]] }), /a gap, or one twice/)
  t.regex(judged({ seen: [[2, 'b', false], [2, 'b', false], [3, 'c', false]] }), /a gap, or one twice/)
  t.regex(judged({ mode: 'latest', seen: [[2, 'b', false], [1, 'a', false], [3, 'c', false]] }), /came after 2/)
  t.regex(judged({ seen: [[2, 'b', true], [3, 'c', false]] }), /came first/)
  t.regex(judged({ seen: [[2, 'x', false], [3, 'c', false]] }), /version 2 was x, and is b elsewhere/)
  t.regex(judged({ seen: [[3, 'c', false], [4, 'd', false]] }), /d was seen, and did not run/)
  t.regex(judged({ seen: [[1, 'a', false], [2, 'b', false]] }), /the last seen was 2 b, and the end is c/)
  t.regex(judged({ seen: [[3, 'c', false]], wrong: ['half done'] }), /half done/)
})
