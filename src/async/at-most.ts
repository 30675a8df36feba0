/**
 * Options that bound an LRUCache to `limit` entries. Not its option `max`, which reserves memory for all entries at once: 0.3 MB for 10,000, and
 * a daemon has some thirty caches that are nearly empty.
 */
export function atMost(limit: number): { readonly maxSize: number; readonly sizeCalculation: () => number } {
  return { maxSize: limit, sizeCalculation: () => 1 }
}
