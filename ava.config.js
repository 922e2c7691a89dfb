/**
 * Tests run on the modules that `tsc` leaves in `dist`, three files at a time. Files that keep the whole machine busy, or
 * whose programs have timeouts of their own, run afterwards, one at a time (`npm run test:alone`): beside other files, each
 * would measure the load of the others.
 */
const alone = ['processes/*', 'network/*', 'simulation/*', 'fuzz/*', 'project/outside', 'project/masterless'].map((files) => `dist/test/${files}.test.js`)
const onlyThose = process.env.STAGEMESH_ALONE === '1'

export default {
  files: onlyThose ? alone : ['dist/test/**/*.test.js', ...alone.map((files) => `!${files}`)],
  timeout: '120s',
  concurrency: onlyThose ? 1 : 3,
  nodeArguments: ['--no-warnings'], // many tests make user code fail, and each failure would print its stack
}
