/** Undoes what was started, the last first, whatever fails on the way. */
export class Teardown {
  readonly #steps: (() => Promise<unknown> | void)[] = []

  add(step: () => Promise<unknown> | void): void {
    this.#steps.push(step)
  }

  /** Runs each step once. */
  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step()
      } catch {
        // The rest must be closed all the same; the process ends soon.
      }
    }
  }
}
