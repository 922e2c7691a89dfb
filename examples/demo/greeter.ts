/** The greeter, of which the demo starts two replicas. Registry and namespace come from $STAGE_REGISTRY and $STAGE_NAMESPACE. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Stage } from 'stagemesh'
import { play } from './role.js'

const stage = new Stage('greeter')

stage.to('*').provide('greet', async (name: string) => {
  await sleep(2) // so that some calls are always in flight
  return { text: `hi there, ${name}`, by: process.pid }
})
stage.to('*').provide('role', () => `greeter ${process.pid}`)

await play(stage)
