import type { Digest } from '../../oci/digest.ts'
import type { Repository } from '../../oci/reference.ts'
import type { Caller } from '../access/audience.ts'

/** A blob in the repository that it is requested from. */
export interface BlobRequest {
  readonly repository: Repository
  readonly digest: Digest
  /** The client whose credentials fetch it, where the node's own do not suffice. */
  readonly caller?: Caller | undefined
}
