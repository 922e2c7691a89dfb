/**
 * Waits for a condition. @param ms  the limit: that of the promise, if a promise states one; the default is for busy
 * machines
 */
export async function until(condition: () => boolean | Promise<boolean>, ms = 30_000): Promise<void> {
  const end = Date.now() + ms
  while (!await condition()) {
    if (Date.now() > end) throw new Error(`not true within ${ms / 1000} s: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
