/** Waits for a condition, for at most five seconds or what is given. */
export async function until(condition: () => boolean | Promise<boolean>, ms = 5000): Promise<void> {
  const end = Date.now() + ms
  while (!await condition()) {
    if (Date.now() > end) throw new Error(`not true within ${ms / 1000} s: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
