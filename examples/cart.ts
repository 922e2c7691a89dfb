/**
 * A cart that outlives its stage: its state is kept in the store of the registry, and a call is answered only once the
 * state was committed.
 *
 *     node dist/examples/cart.js                            within this process
 *     node dist/examples/cart.js local:                     in a folder of this machine
 *     node dist/examples/cart.js redis://127.0.0.1:6379     on a Redis
 */
import { Stage, StageError } from 'stagemesh'

class Cart {
  items: Record<string, number> = {}
  total = 0

  add(item: string, price: number, count = 1): number {
    this.items[item] = (this.items[item] ?? 0) + count
    this.total += price * count
    // thrown late on purpose: a turn that throws is rolled back
    if (count < 1) throw new RangeError(`${count} of ${item}`)
    return this.total
  }
}

const registry = process.argv[2] ?? 'memory:'
const options = { registry, namespace: `cart-${process.pid}` } // so that two runs of this example do not see each other

const shops = ['shop-1', 'shop-2'].map((name) => {
  const shop = new Stage(name, options)
  return shop.define({ pattern: 'carts.{customer}', constructor: Cart, durable: true })
})
const web = new Stage('web', options)

const cart = web.actor<Cart>('carts.bob')
await cart.add('apple', 30, 2)
console.log(`total ${await cart.add('pear', 40)}`)

const error: unknown = await cart.add('apple', 30, -5).catch((thrown: unknown) => thrown)
const code = error instanceof StageError ? error.code : String(error)
const cause = error instanceof StageError && error.cause instanceof Error ? error.cause.message : ''
console.log(`${code}: ${cause}`)
console.log(`total ${await cart.total}`)

const before = await web.explain(cart)
const owner = shops.find((shop) => shop.id === before.owner?.id)
await owner?.close()
console.log('its stage has closed')

console.log(`total ${await cart.total}, apples ${(await cart.items)['apple']}`)
const after = await web.explain(cart)
console.log(`on another stage: ${after.owner?.id !== before.owner?.id}, commits so far: ${after.version}`)

await Promise.all([web, ...shops].map((stage) => stage.close()))
