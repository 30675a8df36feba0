/**
 * Compiles a pattern in which `*` is any text without `/`, and `**` any text. Unlike a regular expression with several wildcards, a
 * match takes time in proportion to the length of the text times that of the pattern at most.
 */
export function compileGlob(glob: string): (text: string) => boolean {
  // The odd parts are the wildcards.
  const parts = glob.split(/(\*+)/)
  return (text) => {
    // Where in the text the parts so far may end, ascending.
    let ends: readonly number[] = [0]
    for (const [index, part] of parts.entries()) {
      ends = index % 2 === 0 ? afterLiteral(text, part, ends) : afterWildcard(text, part, ends)
      if (ends.length === 0) return false
    }
    return ends.at(-1) === text.length
  }
}

function afterLiteral(text: string, literal: string, starts: readonly number[]): readonly number[] {
  if (literal === '') return starts
  return starts.filter((start) => text.startsWith(literal, start)).map((start) => start + literal.length)
}

function afterWildcard(text: string, wildcard: string, starts: readonly number[]): readonly number[] {
  const ends: number[] = []
  let next = 0
  for (const start of starts) {
    const slash = wildcard === '*' ? text.indexOf('/', start) : -1
    const last = slash < 0 ? text.length : slash
    // Each position once: what begins at a later start has been added up to there already.
    for (next = Math.max(next, start); next <= last; next += 1) ends.push(next)
  }
  return ends
}
