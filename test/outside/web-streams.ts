import { Duplex, Readable, Writable } from 'node:stream'
import { CompressionStream, DecompressionStream, TextDecoderStream, TextEncoderStream } from 'node:stream/web'
import { blob, buffer, json, text as consume } from 'node:stream/consumers'
import { broken } from './differences.js'
import { closed, code, type Program } from './program.js'

const toWeb: Program = {
  name: 'Duplex.toWeb(): a reader and a writer',
  run: async (ends) => {
    const lines: string[] = []
    ends.onconnection((far) => {
      let come = 0
      far.on('data', (chunk: Buffer) => {
        come += chunk.length
        if (come === 300_000) far.end('welcome')
      })
    })
    const { readable, writable } = Duplex.toWeb(await ends.dial())
    const writer = writable.getWriter()
    await writer.write(Buffer.alloc(300_000))
    const reader = readable.getReader()
    for (;;) {
      const { done, value } = await reader.read() as { done: boolean; value?: Uint8Array }
      if (done) break
      lines.push(Buffer.from(value as Uint8Array).toString())
    }
    await writer.close().catch(() => {}) // the writer may be closed already, because the other end has ended
    return lines
  },
}

const through: Program = {
  name: 'Web Streams: pipeTo() and pipeThrough() on both ends',
  run: async (ends) => {
    const come = new Promise<string>((resolve) => {
      ends.onconnection((far) => {
        const read = Readable.toWeb(far).pipeThrough(new DecompressionStream('gzip') as never).pipeThrough(new TextDecoderStream() as never) as unknown as AsyncIterable<string>
        void (async () => {
          let size = 0
          for await (const chunk of read) size += chunk.length
          resolve(String(size))
        })()
      })
    })
    const near = await ends.dial()
    near.resume()
    const source = new ReadableStream<string>({ start: (to) => { to.enqueue('x'.repeat(500_000)); to.close() } })
    await source.pipeThrough(new TextEncoderStream() as never).pipeThrough(new CompressionStream('gzip') as never).pipeTo(Writable.toWeb(near) as never)
    const said = await come
    near.destroy()
    return [said]
  },
}

const cancelled: Program = {
  name: 'Web Streams: cancel and abort',
  differs: broken('accepted', 2),
  run: async (ends) => {
    const lines: string[] = []
    const gone: Promise<void>[] = []
    ends.onconnection((far) => {
      far.on('error', () => {})
      gone.push(closed(far.resume()))
      far.write('x')
    })
    for (const how of ['cancel', 'abort'] as const) {
      const near = await ends.dial()
      near.on('error', () => {})
      const over = closed(near)
      const { readable, writable } = Duplex.toWeb(near)
      near.write('x')
      const reader = readable.getReader()
      await reader.read()
      if (how === 'cancel') {
        await reader.cancel().catch((error: unknown) => lines.push(`cancel: ${code(error)}`))
        await writable.close().catch((error: unknown) => lines.push(`close: ${code(error)}`))
      } else {
        await writable.abort(new Error('enough')).catch((error: unknown) => lines.push(`abort: ${code(error)}`))
      }
      await over
    }
    await Promise.all(gone)
    return lines
  },
}

const consumers: Program = {
  name: 'stream/consumers',
  run: async (ends) => {
    const lines: string[] = []
    ends.onconnection((far) => { far.resume().end('{"an":"answer"}') })
    for (const [name, read] of Object.entries({ buffer, text: consume, json, blob })) {
      const near = await ends.dial()
      near.write('question')
      const it = await read(near) as string | object
      lines.push(`${name}: ${it instanceof Blob ? await it.text() : Buffer.isBuffer(it) ? String(it) : JSON.stringify(it)}`)
    }
    return lines
  },
}

export default [toWeb, through, cancelled, consumers]
