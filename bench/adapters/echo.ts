/** The actor that is measured: each call changes a property, and returns its argument. */
export class Echo {
  calls = 0
  echo(value: unknown): unknown {
    this.calls++
    return value
  }
}
