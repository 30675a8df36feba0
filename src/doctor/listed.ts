const MAX_NAMED = 5

/** `10.0.0.1, 10.0.0.2, …`: the first five. */
export function listed(names: readonly string[]): string {
  return `${names.slice(0, MAX_NAMED).join(', ')}${names.length > MAX_NAMED ? ', …' : ''}`
}
