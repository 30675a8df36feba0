/** Tags that were answered without their upstream since it could not be asked: how many, and how old the answers were. */
export class StaleTags {
  total = 0
  /** In seconds: of the last answer, and of the oldest. */
  lastAge = 0
  maxAge = 0

  note(ageSeconds: number): void {
    this.total += 1
    this.lastAge = ageSeconds
    this.maxAge = Math.max(this.maxAge, ageSeconds)
  }
}
