/** A file or directory of a tar archive. */
export interface TarEntry {
  readonly name: string
  readonly bytes?: Uint8Array
  readonly type?: 'file' | 'directory'
  readonly executable?: boolean
}

const BLOCK = 512

/** Writes a ustar archive, the same bytes for the same entries: owner root, time 0. Names are up to 100 bytes. */
export function makeTar(entries: readonly TarEntry[]): Buffer {
  const sizes = entries.map((entry) => BLOCK + padded(entry.bytes?.length ?? 0))
  const tar = Buffer.alloc(sizes.reduce((sum, size) => sum + size, 2 * BLOCK))
  let offset = 0
  for (const [i, entry] of entries.entries()) {
    writeHeader(tar.subarray(offset, offset + BLOCK), entry)
    if (entry.bytes !== undefined) tar.set(entry.bytes, offset + BLOCK)
    offset += sizes[i] ?? 0
  }
  return tar
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK
}

// https://www.gnu.org/software/tar/manual/html_node/Standard.html
function writeHeader(header: Buffer, entry: TarEntry): void {
  if (Buffer.byteLength(entry.name) > 100) throw new Error(`tar: the name ${entry.name} is too long`)
  const directory = entry.type === 'directory'
  header.write(entry.name, 0)
  header.write(directory || entry.executable === true ? '0000755\0' : '0000644\0', 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  header.write(`${(entry.bytes?.length ?? 0).toString(8).padStart(11, '0')}\0`, 124)
  header.write('00000000000\0', 136)
  header.write('        ', 148)
  header.write(directory ? '5' : '0', 156)
  header.write('ustar\x0000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
}
