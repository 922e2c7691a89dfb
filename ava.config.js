/**
 * Tests run on what `tsc` leaves in `dist`, three files at a time. Those in `test/alone/` measure how soon real processes
 * answer: they run afterwards and one by one (`npm run test:alone`), because otherwise they would measure the other tests.
 */
const alone = process.env.STAGEMESH_ALONE === '1'

export default {
  files: alone ? ['dist/test/alone/**/*.test.js'] : ['dist/test/**/*.test.js', '!dist/test/alone/**'],
  timeout: '120s',
  concurrency: alone ? 1 : 3,
  serial: alone,
  nodeArguments: ['--conditions=stagemesh-modules'],
}
