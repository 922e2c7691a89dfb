import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import pump from 'pump'
import { text, type Program } from './program.js'

const hasTar = spawnSync('tar', ['--version']).status === 0

const exit = (child: ChildProcess): Promise<number | null> => new Promise((resolve) => { child.once('exit', resolve) })

/** A folder with a few files, which exists while `use` runs. */
async function folders<T>(use: (from: string, to: string) => Promise<T>): Promise<T> {
  const root = await mkdtemp(join(tmpdir(), 'stagemesh-tar-'))
  try {
    const [from, to] = [join(root, 'from'), join(root, 'to')]
    for (const folder of [from, to]) await mkdir(folder)
    for (const size of [0, 10, 1_000_000]) await writeFile(join(from, `file-${size}`), Buffer.alloc(size, 'x'))
    return await use(from, to)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

async function listed(folder: string): Promise<string> {
  const names = (await readdir(folder)).sort()
  return (await Promise.all(names.map(async (name) => `${name} ${(await readFile(join(folder, name))).length}`))).join(', ')
}

const joined: readonly { name: string; join(stdout: NodeJS.ReadableStream, into: NodeJS.WritableStream): Promise<unknown> | void }[] = [
  { name: 'pipe', join: (from, to) => void from.pipe(to) },
  { name: 'pump', join: (from, to) => new Promise<void>((resolve, reject) => { pump(from, to, (error) => { if (error) reject(error); else resolve() }) }) },
  { name: 'pipeline', join: (from, to) => pipeline(from, to) },
]

const copies: readonly Program[] = joined.map((how) => ({
  name: `tar in a child, joined by ${how.name}`,
  run: (ends) => folders(async (from, to) => {
    const unpacked = new Promise<number | null>((resolve) => {
      ends.onconnection((stream) => {
        const child = spawn('tar', ['xzf', '-', '-C', to], { stdio: ['pipe', 'ignore', 'inherit'] })
        void how.join(stream, child.stdin)
        resolve(exit(child))
      })
    })
    const child = spawn('tar', ['czf', '-', '-C', from, '.'], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [code] = await Promise.all([exit(child), how.join(child.stdout, (await ends.dial()).resume())])
    return [`packed ${code}, unpacked ${await unpacked}`, await listed(to)]
  }),
}))

const filter: Program = {
  name: 'a child as a filter: what is written comes back through it',
  run: async (ends) => {
    ends.onconnection((stream) => {
      stream.allowHalfOpen = true
      const child = spawn(process.execPath, ['-e', 'process.stdin.pipe(process.stdout)'], { stdio: ['pipe', 'pipe', 'inherit'] })
      stream.pipe(child.stdin)
      child.stdout.pipe(stream)
    })
    const near = await ends.dial()
    near.end('through')
    return [await text(near)]
  },
}

const zipped: Program = {
  name: 'zlib on both ends, joined by pipeline',
  run: async (ends) => {
    const come = new Promise<string>((resolve, reject) => {
      ends.onconnection((stream) => {
        let size = 0
        const unzip = createGunzip().on('data', (chunk: Buffer) => { size += chunk.length })
        pipeline(stream, unzip).then(() => { resolve(`${size} came`) }, reject)
      })
    })
    const near = await ends.dial()
    const zip = createGzip()
    zip.end(Buffer.alloc(3_000_000, 'x'))
    near.resume()
    await pipeline(zip, near)
    return [await come]
  },
}

export default hasTar ? [...copies, filter, zipped] : [zipped]
