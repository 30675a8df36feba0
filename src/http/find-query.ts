import type { FindQuery } from '../contracts/admin/find.ts'
import type { FindRequest } from '../delivery/images/image-finder.ts'
import { parseDigest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { ownPlatform, parsePlatform } from '../oci/platform.ts'
import { type IsMirror, parseImageReference } from '../oci/reference.ts'

const MAX_REFERENCE = 1_024

/** Reads the query of `/api/v1/find`. Throws OciError with a sentence for the user. */
export function parseFindQuery(query: FindQuery, isMirror: IsMirror): FindRequest {
  const text = query.reference.trim()
  // A digest that lacks digits would parse as a repository and a tag.
  const isReference = text.length <= MAX_REFERENCE && !/^sha(?:256|512):/i.test(text)
  const image = parseDigest(text) ?? (isReference ? parseImageReference(text, isMirror) : undefined)
  if (image === undefined) throw refused(`${JSON.stringify(text.slice(0, 100))} is not an image reference or a digest`)
  const asked = query.platform ?? ''
  const platform = asked === '' ? ownPlatform() : parsePlatform(asked)
  if (platform === undefined)
    throw refused(`${JSON.stringify(asked.slice(0, 100))} is not a platform such as linux/arm64`)
  return { image, platform, upstream: query.upstream === 'true' }
}

function refused(message: string): OciError {
  return new OciError('NAME_INVALID', { message })
}
