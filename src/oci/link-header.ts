/** A link of a `Link` header. */
export interface Link {
  /** The URI reference between `<` and `>`, as it was sent. */
  readonly target: string
  /** The relation types of its first `rel` parameter, in lower case. */
  readonly relations: readonly string[]
}

/** Cap on a header, in characters; a link to a next page has a few hundred, with a signed cursor two thousand. */
export const MAX_LINK_HEADER = 8192

// Each pattern consumes what it has looked at, or ends the parse: so no character is looked at more than a few times.
const SEPARATOR = /[\s,]*/y
const TARGET = /<([^>]*)>/y
const PARAMETER_NAME = /[ \t]*;[ \t]*([^\s=;,]*)[ \t]*/y
/** A closing quote that is missing is the end of the header. */
const PARAMETER_VALUE = /=[ \t]*(?:"((?:[^"\\]|\\.)*)"?|([^;,]*))/y

/**
 * Reads the links of a `Link` header (RFC 8288, appendix B.2) up to the first one that is malformed. No links for a header of more than
 * {@link MAX_LINK_HEADER} characters.
 */
export function parseLinkHeader(header: string): readonly Link[] {
  const links: Link[] = []
  if (header.length > MAX_LINK_HEADER) return links
  const cursor = new Cursor(header)
  for (;;) {
    cursor.take(SEPARATOR)
    const target = cursor.take(TARGET)?.[1]
    if (target === undefined) return links
    links.push({ target: target.trim(), relations: takeRelations(cursor) })
  }
}

/** Consumes the parameters of one link. The first `rel` counts (RFC 8288, section 3.3). */
function takeRelations(cursor: Cursor): readonly string[] {
  let relations: readonly string[] | undefined
  for (;;) {
    const name = cursor.take(PARAMETER_NAME)?.[1]
    if (name === undefined) return relations ?? []
    const [, quoted, token] = cursor.take(PARAMETER_VALUE) ?? []
    if (name.toLowerCase() !== 'rel' || relations !== undefined) continue
    const value = quoted?.replaceAll(/\\(.)/g, '$1') ?? token ?? ''
    relations = value
      .toLowerCase()
      .split(/\s+/)
      .filter((relation) => relation !== '')
  }
}

/** A position in a text that only moves forward. */
class Cursor {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** Consumes what a sticky pattern matches here; null, and nothing consumed, if it does not match. */
  take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#text)
    if (match !== null) this.#at = pattern.lastIndex
    return match
  }
}
