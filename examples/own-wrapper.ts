/**
 * A wrapper of one's own: bytes are changed on their way, in both directions.
 * The same page, explained, is in `docs/extending.md`.
 */
import { Duplex } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { Stage, framing, rpc, type Wrapper } from 'stagemesh'

/** Every byte goes over the wire combined with `key`. (It hides nothing: it shows what a wrapper has to do.) */
export function mixed(key: number): Wrapper {
  return function mixed(stream) {
    return new Mixed(stream, key)
  }
}

class Mixed extends Duplex {
  constructor(private readonly inner: Duplex, private readonly key: number) {
    super()
    inner.on('data', (chunk: Buffer) => { if (!this.push(this.#mix(chunk))) inner.pause() })
    inner.on('end', () => this.push(null))
    inner.on('error', (error) => this.destroy(error))
    inner.on('close', () => { if (!inner.readableEnded) this.destroy() })
  }

  override _read(): void {
    this.inner.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.inner.write(this.#mix(chunk), done)
  }

  override _final(done: () => void): void {
    this.inner.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.inner.closed) done(error)
    else this.inner.once('close', () => done(error))
    this.inner.destroy(error ?? undefined)
  }

  #mix(chunk: Buffer): Buffer {
    return Buffer.from(chunk.map((byte) => byte ^ this.key))
  }
}

// ── below the two wrappers of the default chain ─────────────────────────────────────────────────────────────────────

async function main(): Promise<void> {
  const chain = [mixed(42), framing(), rpc()]
  const api = new Stage('api', { registry: 'memory:', chain })
  const web = new Stage('web', { registry: 'memory:', chain })
  api.to('*').provide('greet', (name: string) => `hi there, ${name}`)

  console.log(await web.to('api').call('greet', 'bob'))

  await web.close()
  await api.close()
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
