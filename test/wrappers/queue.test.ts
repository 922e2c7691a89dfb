/** The queue of calls that wait to begin, compared with a Map, which keeps the order of insertion too. */
import test from 'ava'
import { Queue, type Queued } from '../../wrappers/rpc/serving/queue.js'
import { seeded } from '../helpers/mesh.js'

const queued = (since: number): Queued => ({ handler: undefined, call: {} as Queued['call'], args: [], since })

test('calls leave in the order in which they came, whatever is taken out in between', (t) => {
  const random = seeded(7)
  const queue = new Queue()
  const model = new Map<number, Queued>()
  let [calls, casts] = [0, 0]
  for (let n = 0; n < 20_000; n++) {
    const kind = random.float()
    if (kind < 0.55) { // ids of calls are even here, those of casts are negative
      const id = random.float() < 0.8 ? calls += 2 : -++casts
      const one = queued(n)
      queue.add(id, one)
      model.set(id, one)
    } else if (kind < 0.9) {
      const [id] = model.keys()
      if (id === undefined) continue
      t.is(queue.first?.id, id)
      t.is(queue.first?.queued, model.get(id))
      queue.delete(queue.first!)
      model.delete(id)
    } else { // cancelled, or not there any more
      const id = Math.floor(random.float() * calls / 2) * 2
      const place = queue.get(id)
      t.is(place?.queued, model.get(id))
      if (place) queue.delete(place)
      model.delete(id)
    }
    if (queue.size !== model.size) t.fail(`${queue.size} calls wait, not ${model.size}`)
  }
  t.true(model.size > 500)
  t.deepEqual(queue.clear(), [...model.values()])
  t.is(queue.size, 0)
  t.is(queue.first, undefined)
  t.is(queue.get(calls), undefined)
})

test('two calls of one id, which no honest peer sends, both leave', (t) => {
  const queue = new Queue()
  for (const since of [1, 2]) queue.add(5, queued(since))
  queue.delete(queue.first!)
  t.is(queue.first!.queued.since, 2)
  queue.delete(queue.first!)
  t.deepEqual([queue.size, queue.first, queue.get(5)], [0, undefined, undefined])
  for (const since of [1, 2]) queue.add(5, queued(since))
  t.deepEqual(queue.clear().map((one) => one.since), [1, 2])
  t.is(queue.size, 0)
})
