import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { open } from 'lmdb'
import { LocalRegistry } from '../../registries/local/registry.js'
import { storeSuite } from '../suites/store.js'

const folder = () => mkdtemp(join(tmpdir(), 'stagemesh-test-'))

storeSuite(test, async () => {
  const path = await folder()
  // the environment is that of the test's own process, so it is not closed here
  const raw = () => open<string>({ path, noSubdir: false, encoding: 'string', useVersions: true })
  return {
    open: () => new LocalRegistry(path),
    forget: async (namespace, actor) => {
      await raw().remove(['actor', namespace, actor])
    },
    empty: () => raw().clearAsync(),
    close: () => rm(path, { recursive: true, force: true }),
  }
}, { name: 'local' })
