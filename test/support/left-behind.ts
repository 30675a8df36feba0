/**
 * Whether something with a name `<prefix>-<pid>-…` was made by a process that has ended since, without having removed it. Tests name what they make
 * outside of their process so.
 */
export function isLeftBehind(prefix: string, name: string): boolean {
  const pid = new RegExp(`^${prefix}-(\\d+)-`).exec(name)?.[1]
  if (pid === undefined) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch {
    return true
  }
}
