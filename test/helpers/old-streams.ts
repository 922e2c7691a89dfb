/**
 * Streams of all versions that pass data through, as a custom wrapper may return them: none of them passes on errors or a
 * destroy.
 */
import { createRequire } from 'node:module'
import { Duplex, Stream, type DuplexOptions } from 'node:stream'
import duplexify from 'duplexify'
import through2 from 'through2'

const require = createRequire(import.meta.url)

type DuplexClass = new (options?: DuplexOptions) => Duplex

/**
 * A stream from before Node 0.10: it has `write` and `end`, emits `data` and `end`, and has neither `destroy` nor `close`.
 */
export class Streams1 extends Stream {
  readable = true
  writable = true

  constructor(private readonly inner: Duplex) {
    super()
    inner.on('data', (chunk: Buffer) => this.emit('data', chunk))
    inner.on('drain', () => this.emit('drain'))
    inner.on('end', () => { this.readable = false; this.emit('end') })
  }

  write(chunk: Buffer): boolean {
    return this.inner.write(chunk)
  }

  end(chunk?: Buffer): void {
    if (!this.writable) return
    this.writable = false
    if (chunk) this.inner.write(chunk)
    this.inner.end()
  }

  pause(): void {
    this.inner.pause()
  }

  resume(): void {
    this.inner.resume()
  }
}

/** Writes to a stream that may be so old that it calls no callback for a write. */
function passOn(inner: Duplex, chunk: Buffer, done: () => void): void {
  if (inner.write(chunk)) done()
  else inner.once('drain', done)
}

function over(Class: DuplexClass, inner: Duplex, options: DuplexOptions = {}): Duplex {
  const outer: Duplex = new Class({
    ...options,
    read: () => { inner.resume() },
    write: (chunk: Buffer, _encoding, done) => passOn(inner, chunk, done),
    final: (done) => { inner.end(); done() },
  })
  inner.on('data', (chunk: Buffer) => { if (!outer.push(chunk)) inner.pause() })
  inner.on('end', () => outer.push(null))
  return outer
}

/** readable-stream 1 takes its methods from the object, not from options. */
function over1(inner: Duplex): Duplex {
  const { Duplex: Class } = require('readable-stream-1') as { Duplex: DuplexClass }
  const outer = new Class()
  outer._read = () => { inner.resume() }
  outer._write = (chunk: Buffer, _encoding, done) => passOn(inner, chunk, done)
  outer.on('finish', () => inner.end())
  inner.on('data', (chunk: Buffer) => { if (!outer.push(chunk)) inner.pause() })
  inner.on('end', () => outer.push(null))
  return outer
}

function overX(inner: Duplex): Duplex {
  const { Duplex: Class } = require('streamx') as { Duplex: new (options: object) => Duplex }
  const outer = new Class({
    read: (done: () => void) => { inner.resume(); done() },
    write: (chunk: Buffer, done: () => void) => passOn(inner, chunk, done),
    final: (done: () => void) => { inner.end(); done() },
  })
  inner.on('data', (chunk: Buffer) => outer.push(chunk))
  inner.on('end', () => outer.push(null))
  return outer
}

function halves(inner: Duplex): Duplex {
  const incoming = through2()
  const outgoing = through2()
  inner.on('data', (chunk: Buffer) => { if (!incoming.write(chunk)) { inner.pause(); incoming.once('drain', () => inner.resume()) } })
  inner.on('end', () => incoming.end())
  outgoing.on('data', (chunk: Buffer) => passOn(inner, chunk, () => {}))
  outgoing.on('end', () => inner.end())
  return duplexify(outgoing, incoming)
}

/** This stream is no Duplex, but wrappers return it as one. */
const older = (inner: Duplex, destroy?: () => unknown): Duplex => Object.assign<Stream, object>(new Streams1(inner), destroy ? { destroy } : {}) as Stream as Duplex

/** Functions by name: each makes a stream that passes data through `inner`. */
export const kinds: Record<string, (inner: Duplex) => Duplex> = {
  'Node': (inner) => over(Duplex, inner),
  'Node without close': (inner) => over(Duplex, inner, { emitClose: false }),
  'Node without autoDestroy': (inner) => over(Duplex, inner, { autoDestroy: false }),
  'duplexify': halves,
  'readable-stream 2': (inner) => over((require('readable-stream-2') as { Duplex: DuplexClass }).Duplex, inner),
  'readable-stream 1': over1,
  'streamx': overX,
  'streams1': (inner) => older(inner),
  'streams1 with a destroy that throws': (inner) => older(inner, () => { throw new Error('not mine to destroy') }),
  'streams1 with a destroy that says nothing': (inner) => older(inner, () => {}),
  'streams1 with an async destroy': (inner) => older(inner, async () => { throw new Error('not mine to destroy') }),
}
