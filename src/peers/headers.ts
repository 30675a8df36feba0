/** When the upstream last said what a tag names: an ISO 8601 time, on answers of the peer listener. */
export const AS_OF_HEADER = 'nabo-as-of'
/** On a 503 of the peer listener: this node is well and has enough to do. Ask another one. */
export const BUSY_HEADER = 'nabo-busy'
/** On a 404 of the peer listener: it does not hold this at all. Without it, it only has no right to be seen under that name. */
export const ABSENT_HEADER = 'nabo-absent'
/**
 * On content and tags from the peer listener: why it may be served, so that the receiver may serve it too. `public`, `imported`, or `open`
 * (public, but perhaps not under the requested repository).
 */
export const ACCESS_HEADER = 'nabo-access'
/** On a request between nodes, `1`: the registry was asked as the client it is for, about this very digest or tag, and shows it. */
export const VERIFIED_HEADER = 'nabo-verified'
/** On a blob that is still arriving at the peer: the ids of the nodes that its bytes come through, the root first, this node last. */
export const PATH_HEADER = 'nabo-path'
/** The most ids in a path: twice as deep as a tree may be. */
export const MAX_PATH = 32
