import { parseDigest } from '../../oci/digest.ts'
import { UpstreamError, type UpstreamProof, type UpstreamQuestion } from '../upstream.ts'
import type { RegistryAnswer } from './address-client.ts'
import { mediaTypeOf } from './bodies.ts'

/**
 * Reads the proof from a 200 to a HEAD. Throws UpstreamError `invalid` for a page, which a gateway in front of the registry sends with
 * 200 too, and for a digest other than the requested one. Length and type are not needed: a proof is not used to read content.
 */
export function readProof({ response, anonymous }: RegistryAnswer, asked: UpstreamQuestion): UpstreamProof {
  const { host } = response.url
  const type = mediaTypeOf(response) ?? ''
  const wanted = parseDigest(asked.reference)
  const said = parseDigest(response.header('docker-content-digest')?.trim() ?? '')
  // An answer with the digest is the registry's, whatever its type. Without the digest it may be a gateway's login or error page.
  const isJson = said === undefined && /^application\/(?!vnd\.)(?:[a-z0-9.+-]+\+)?json$/i.test(type)
  const isText = said === undefined || asked.kind === 'manifests' ? /^text\//i : /^text\/html$/i
  if (isJson || isText.test(type))
    throw new UpstreamError('invalid', `${host} sent a page of type ${type} where a registry should answer`)
  if (wanted !== undefined && said !== undefined && said !== wanted)
    throw new UpstreamError('invalid', `${host} shows ${said}, which is not ${wanted}`)
  const digest = wanted ?? said
  return { anonymous, ...(digest === undefined ? {} : { digest }) }
}
