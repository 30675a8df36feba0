import { parseDigest } from '../../oci/digest.ts'
import { UpstreamError, type UpstreamProof, type UpstreamQuestion } from '../upstream.ts'
import type { RegistryAnswer } from './address-client.ts'
import { mediaTypeOf } from './bodies.ts'

/**
 * What a HEAD with 200 proves. Throws UpstreamError `invalid` for a page, which something in front of the registry sends with 200 too,
 * and for another digest than the one asked for. Neither length nor type is needed: a proof is not used to read anything.
 */
export function readProof({ response, anonymous }: RegistryAnswer, asked: UpstreamQuestion): UpstreamProof {
  const { host } = response.url
  const type = mediaTypeOf(response) ?? ''
  const wanted = parseDigest(asked.reference)
  const said = parseDigest(response.header('docker-content-digest')?.trim() ?? '')
  // A registry that names the digest has answered, whatever it calls the type. Without it, gateways send logins and errors with 200 too.
  const isJson = said === undefined && /^application\/(?!vnd\.)(?:[a-z0-9.+-]+\+)?json$/i.test(type)
  const isText = said === undefined || asked.kind === 'manifests' ? /^text\//i : /^text\/html$/i
  if (isJson || isText.test(type))
    throw new UpstreamError('invalid', `${host} sent a page of type ${type} where a registry should answer`)
  if (wanted !== undefined && said !== undefined && said !== wanted)
    throw new UpstreamError('invalid', `${host} shows ${said}, which is not ${wanted}`)
  const digest = wanted ?? said
  return { anonymous, ...(digest === undefined ? {} : { digest }) }
}
