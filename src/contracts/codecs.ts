import { z } from 'zod'

import { type Digest, parseDigest } from '../oci/digest.ts'
import { type Platform, formatPlatform, parsePlatform } from '../oci/platform.ts'
import { type Repository, parseRepositoryKey, repositoryKey } from '../oci/reference.ts'

/** A non-negative integer. */
export const count = z.int().nonnegative()

/** An array with a readonly type, so that handlers may return readonly arrays. */
export function list<T>(item: z.ZodType<T>): z.ZodType<readonly T[]> {
  return z.array(item)
}

/** sha512 and its hex digits are 135 characters. */
export const digest = textCodec<Digest>(z.string().max(140), parseDigest, (value) => value, 'is not a digest')

/** `docker.io/library/alpine` */
export const repository = textCodec<Repository>(
  z.string().max(512),
  parseRepositoryKey,
  repositoryKey,
  'is not a repository',
)

/** `linux/arm64/v8` */
export const platform = textCodec<Platform>(
  z.string().max(100),
  parsePlatform,
  formatPlatform,
  'is not a platform such as linux/amd64',
)

/** A text of at most `max` characters; a longer one is cut before it is sent. */
export function cutText(max: number): z.ZodType<string> {
  return z.codec(z.string().max(max), z.string(), { decode: (text) => text, encode: (text) => text.slice(0, max) })
}

/** A value that travels as text. `parse` returns undefined for an invalid text; `problem` then completes the error message. */
export function textCodec<T>(
  text: z.ZodType<string, string>,
  parse: (text: string) => T | undefined,
  format: (value: T) => string,
  problem: string,
): z.ZodType<T, string> {
  return z.codec(text, z.custom<T>(), {
    decode: (given, payload) => {
      const value = parse(given)
      if (value !== undefined) return value
      payload.issues.push({ code: 'custom', message: problem, input: given })
      return z.NEVER
    },
    encode: format,
  })
}
