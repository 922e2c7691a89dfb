/** The map of what is under way on a link, beside a Map that does the same. */
import test from 'ava'
import { IdMap } from '../../src/id-map.js'
import { seeded } from '../helpers/mesh.js'

const sorted = (map: Map<number, object>): [number, object][] => [...map].sort(([a], [b]) => a - b)

for (const { what, live, stay } of [
  { what: 'a few at a time', live: 4, stay: 0 },
  { what: 'hundreds at a time', live: 300, stay: 0.001 },
  { what: 'thousands, of which some stay', live: 5000, stay: 0.01 },
  { what: 'more than there can be slots', live: 20_000, stay: 0.3 },
]) {
  test(`it holds what a Map holds: ${what}`, (t) => {
    const chance = seeded(what)
    const random = (): number => chance.float()
    const map = new IdMap<object>()
    const model = new Map<number, object>()
    const under: number[] = []
    for (let id = 1; id < live * 8; id += 2) {
      const value = { id }
      map.set(id, value)
      model.set(id, value)
      under.push(id)
      while (under.length > live * random()) {
        const gone = under.splice(Math.floor(random() * Math.min(under.length, 8)), 1)[0]
        if (random() < stay) continue
        if (map.delete(gone) !== model.delete(gone)) return t.fail(`delete(${gone})`)
        if (map.delete(gone) || map.get(gone) !== undefined) return t.fail(`${gone} is there still`)
      }
      if (map.size !== model.size) return t.fail(`${map.size} in place of ${model.size}`)
    }
    for (const [id, value] of model) if (map.get(id) !== value) return t.fail(`get(${id})`)
    const expected = sorted(model)
    t.true(map.entries().every(([id, value], i) => id === expected[i]?.[0] && value === expected[i][1]))
    t.is(map.values().length, expected.length)
    for (const id of model.keys()) map.delete(id)
    t.is(map.size, 0)
    t.deepEqual(map.entries(), [])
  })
}

test('one that stays for a billion ids keeps its place, and is replaced under its own id', (t) => {
  const map = new IdMap<object>()
  const [first, again] = [{}, {}]
  map.set(3, first)
  for (let id = 5; id < 200_000; id += 2) {
    map.set(id, {})
    if (map.size > 200 && id > 403) map.delete(id - 400)
  }
  for (const id of [2 ** 31 - 1, 2 ** 31 + 1, 2 ** 32 - 1]) map.set(id, { id })
  t.is(map.get(3), first)
  map.set(3, again)
  t.is(map.get(3), again)
  t.deepEqual(map.get(2 ** 32 - 1), { id: 2 ** 32 - 1 })
  t.true(map.delete(3))
  t.is(map.get(3), undefined)
  map.clear()
  t.is(map.size, 0)
})
