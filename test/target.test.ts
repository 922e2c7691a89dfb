/** What `to()` is, as a stream. */
import test from 'ava'
import { handed, reached, turned, two } from './helpers/ends.js'
import { realMesh } from './helpers/mesh.js'
import { Told, streamSuite } from './suites/stream.js'

streamSuite(test, (t) => reached(...two(t)), { name: 'to() over tcp' })
streamSuite(test, (t) => {
  const { stage } = realMesh(t)
  return reached(stage('near'), stage('far'))
}, { name: 'to() over memory' })
streamSuite(test, (t) => turned(reached(...two(t))), { name: 'an accepted stream over tcp' })
streamSuite(test, (t) => reached(...two(t, { chain: [] })), { name: 'to() over the bare socket' })

for (const [what, ends] of Object.entries({ 'to()': reached, 'its callback': handed })) {
  test(`an end comes though nobody reads, where nothing is left to read, as on a socket: ${what}`, async (t) => {
    const { near, far } = await ends(...two(t))
    const told = [new Told(near), new Told(far)]
    near.end()
    far.end()
    for (const one of told) await one.parted(t)
  })
}

