/** Waits for a condition, for at most five seconds. */
export async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 5000
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not true within 5 s: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
