/** When the upstream last said what a tag names: an ISO 8601 time, on answers of the peer listener. */
export const AS_OF_HEADER = 'nabo-as-of'
/** On a 503 of the peer listener: this node is well and has enough to do. Ask another one. */
export const BUSY_HEADER = 'nabo-busy'
