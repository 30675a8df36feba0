import { X509Certificate } from 'node:crypto'
import { open } from 'node:fs/promises'

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g

/** Reads a file of certificates or keys. Rejects with the system's error, and for a file that is no regular one or larger than `limit` bytes. */
export async function readPem(path: string, limit: number, { signal }: { signal: AbortSignal }): Promise<string> {
  const handle = await open(path, 'r')
  try {
    const info = await handle.stat()
    if (!info.isFile()) throw new Error('it is not a file')
    if (info.size > limit) throw new Error(`it is larger than ${limit} bytes`)
    return await handle.readFile({ encoding: 'utf8', signal })
  } finally {
    await handle.close()
  }
}

/** What has the form of a certificate in a text, each as PEM; what is between them is left out. */
export function certificatesIn(text: string): readonly string[] {
  return text.match(CERTIFICATE) ?? []
}

/** The same for every way to write one certificate. */
export function bodyOf(pem: string): string {
  return pem.replaceAll(/-----[^-]+-----|\s/g, '')
}

/** Whether PEM is a certificate, which costs 0.1 ms to find out. */
export function isCertificate(pem: string): boolean {
  try {
    void new X509Certificate(pem)
    return true
  } catch {
    return false
  }
}
