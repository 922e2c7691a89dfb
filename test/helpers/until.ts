/** Waits for a condition. @param ms  at most so long: where a promise says how soon, that; the default is for busy machines */
export async function until(condition: () => boolean | Promise<boolean>, ms = 30_000): Promise<void> {
  const end = Date.now() + ms
  while (!await condition()) {
    if (Date.now() > end) throw new Error(`not true within ${ms / 1000} s: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
